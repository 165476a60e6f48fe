#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "quern/base/thread_pool.h"
#include "quern/kernels/cpu/context.h"

namespace quern::metrics {

/// Weights of item on item in closed form ("Embarrassingly shallow autoencoders", Steck 2019,
/// equation 8): B = I − P·diag(1 / diag P), P = (XᵀX + penalty·I)⁻¹, X the user-item matrix of
/// zeros and ones. Only the `most` items taken most count, so that time (most³) and memory (8·most²
/// bytes) are bounded; the others score 0.
class Ease {
 public:
  static constexpr size_t kMost = 5000;
  /// Histories (ids 1 … items). Of a long history the last 1,000 different items count. The pool
  /// must outlive the object.
  Ease(std::span<const std::span<const uint32_t>> histories, uint32_t items, ThreadPool& pool,
       size_t most = kMost);
  /// Bytes that making and fitting one takes at most.
  static size_t most_bytes(std::span<const std::span<const uint32_t>> histories, uint32_t items,
                           size_t most = kMost);
  /// Solves for B. Before the first score().
  void fit(float penalty);
  /// Sums the weights of the different items of a history, into scores (items + 1).
  void score(std::span<const uint32_t> history, std::span<float> scores) const;
  size_t items() const { return ids_.size(); }

 private:
  kernels::cpu::Context context_;
  std::vector<uint32_t> ids_;      // (items that count) -> id
  std::vector<int32_t> place_of_;  // id -> place among ids_; -1: does not count
  std::vector<float> together_;    // XᵀX
  std::vector<float> weights_;     // B
};

/// The inverse of a symmetric positive definite matrix (n,n), in place: L⁻ᵀ·L⁻¹ of its Cholesky
/// factor.
void invert_positive_definite(const kernels::cpu::Context& context, std::span<float> matrix,
                              int64_t n);

}  // namespace quern::metrics
