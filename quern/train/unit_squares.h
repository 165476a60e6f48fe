#pragma once

#include <span>
#include <vector>

#include "quern/base/thread_pool.h"
#include "quern/graph/store.h"
#include "quern/tensor/buffer.h"
#include "quern/train/shards.h"

namespace quern::train {

/// Σ g² of the gradient's units (Shards::units), where the gradient stands: what the norm of the
/// whole is made of. A unit's bits depend neither on how many ranks there are nor on threads.
class UnitSquares {
 public:
  /// Of what `rank` owns. All must outlive it; the store holds its gradients.
  UnitSquares(const Shards& shards, int rank, const graph::ParameterStore& parameters,
              ThreadPool& pool);

  /// One a unit, 0 for those of other ranks. Waits for what a GPU has been given to do.
  std::vector<double> measure() const;

  size_t allocated_bytes() const { return table_.size(); }
  static size_t planned_bytes(const Shards& shards, int rank, DeviceKind device);

 private:
  void measure_here(std::span<double> squares) const;
  void measure_on_gpu(std::span<double> squares) const;

  const Shards& shards_;
  const graph::ParameterStore& parameters_;
  ThreadPool& pool_;
  size_t first_ = 0, count_ = 0;  // units owned: neighbours
  Buffer table_;                  // on a GPU: where each begins and the last ends; the squares
};

}  // namespace quern::train
