#include "quern/metrics/ease.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "quern/kernels/cpu/gemm.h"
#include "quern/metrics/recommendation.h"
#include "quern/tensor/buffer.h"

namespace quern::metrics {
namespace {

using kernels::cpu::Context;
using kernels::cpu::Gemm;

constexpr int64_t kLeaf = 48;

/// L⁻¹ of A = L·Lᵀ by halves. The Schur complement is made of factors and not of an inverse, whose
/// rounding grows with A's condition before it is subtracted.
class FactorInverter {
 public:
  FactorInverter(const Context& context, int64_t stride) : context_(context), stride_(stride) {}

  /// Of the matrix (n,n) at a, in place; zeros above the diagonal.
  void run(float* a, int64_t n) {
    if (n <= kLeaf) return run_leaf(a, n);
    const int64_t half = n / 2;
    const int64_t rest = n - half;
    float* below = a + half * stride_;  // (rest, half)
    float* corner = below + half;       // (rest, rest)
    run(a, half);
    std::vector<float> factor(static_cast<size_t>(rest * half));  // L21 = A21·L11⁻ᵀ
    multiply({.m = rest,
              .n = half,
              .k = half,
              .a = below,
              .lda = stride_,
              .b = a,
              .ldb = stride_,
              .transpose_b = true,
              .c = factor.data(),
              .ldc = half});
    std::vector<float> negative(factor.size());
    std::transform(factor.begin(), factor.end(), negative.begin(), std::negate<>());
    multiply({.m = rest,
              .n = rest,
              .k = half,
              .a = negative.data(),
              .lda = half,
              .b = factor.data(),
              .ldb = half,
              .transpose_b = true,
              .c = corner,
              .ldc = stride_,
              .accumulate = true});
    run(corner, rest);
    // (L⁻¹)21 = −L22⁻¹·L21·L11⁻¹
    multiply({.m = rest,
              .n = half,
              .k = half,
              .a = negative.data(),
              .lda = half,
              .b = a,
              .ldb = stride_,
              .c = factor.data(),
              .ldc = half});
    multiply({.m = rest,
              .n = half,
              .k = rest,
              .a = corner,
              .lda = stride_,
              .b = factor.data(),
              .ldb = half,
              .c = below,
              .ldc = stride_});
    for (int64_t i = 0; i < half; ++i) std::fill_n(a + i * stride_ + half, rest, 0.0F);
  }

  void multiply(const Gemm& gemm) {
    const size_t need = kernels::cpu::gemm_scratch(gemm);
    if (scratch_.size() < need) scratch_ = Buffer(need);
    kernels::cpu::gemm(context_, gemm, scratch_.data());
  }

 private:
  /// Column by column, in float64.
  void run_leaf(float* a, int64_t n) {
    std::vector<double> l(static_cast<size_t>(n * n)), inverse(l.size());
    const auto at = [n](std::vector<double>& m, int64_t i, int64_t j) -> double& {
      return m[static_cast<size_t>(i * n + j)];
    };
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j <= i; ++j) {
        double sum = static_cast<double>(a[i * stride_ + j]);
        for (int64_t k = 0; k < j; ++k) sum -= at(l, i, k) * at(l, j, k);
        // Rounding may leave nothing of a pivot.
        at(l, i, j) = i == j ? std::sqrt(std::max(sum, 1e-6)) : sum / at(l, j, j);
      }
    }
    for (int64_t j = 0; j < n; ++j) {
      at(inverse, j, j) = 1 / at(l, j, j);
      for (int64_t i = j + 1; i < n; ++i) {
        double sum = 0;
        for (int64_t k = j; k < i; ++k) sum -= at(l, i, k) * at(inverse, k, j);
        at(inverse, i, j) = sum / at(l, i, i);
      }
    }
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j) a[i * stride_ + j] = static_cast<float>(at(inverse, i, j));
  }

  const Context& context_;
  int64_t stride_;
  Buffer scratch_;
};

}  // namespace

void invert_positive_definite(const Context& context, std::span<float> matrix, int64_t n) {
  FactorInverter inverter(context, n);
  inverter.run(matrix.data(), n);
  const std::vector<float> factor(matrix.begin(), matrix.end());
  inverter.multiply({.m = n,
                     .n = n,
                     .k = n,
                     .a = factor.data(),
                     .lda = n,
                     .transpose_a = true,
                     .b = factor.data(),
                     .ldb = n,
                     .c = matrix.data(),
                     .ldc = n});
}

Ease::Ease(std::span<const std::span<const uint32_t>> histories, uint32_t items, ThreadPool& pool,
           size_t most)
    : context_(pool), place_of_(items + 1, -1) {
  std::vector<std::vector<uint32_t>> taken;
  std::vector<uint32_t> counts(items + 1);
  for (const auto history : histories) {
    taken.push_back(different_items(history));
    for (const uint32_t item : taken.back()) ++counts[item];
  }
  ids_.resize(items);
  std::iota(ids_.begin(), ids_.end(), 1U);
  std::stable_sort(ids_.begin(), ids_.end(),
                   [&](uint32_t a, uint32_t b) { return counts[a] > counts[b]; });
  ids_.resize(std::min<size_t>(items, most));
  for (size_t i = 0; i < ids_.size(); ++i) place_of_[ids_[i]] = static_cast<int32_t>(i);
  together_.resize(ids_.size() * ids_.size());
  for (const std::vector<uint32_t>& list : taken) {
    for (const uint32_t a : list) {
      if (place_of_[a] < 0) continue;
      float* row = together_.data() + static_cast<size_t>(place_of_[a]) * ids_.size();
      for (const uint32_t b : list)
        if (place_of_[b] >= 0) row[place_of_[b]] += 1;
    }
  }
}

size_t Ease::most_bytes(std::span<const std::span<const uint32_t>> histories, uint32_t items,
                        size_t most) {
  const size_t n = std::min<size_t>(items, most);
  // XᵀX, B, its factor, and the halves and panels of a product.
  constexpr size_t kMatrices = 4;
  return most_bytes_taken(histories) + (items + size_t{1}) * 4 * sizeof(uint32_t) +
         kMatrices * n * n * sizeof(float);
}

void Ease::fit(float penalty) {
  const size_t n = ids_.size();
  weights_ = together_;
  for (size_t i = 0; i < n; ++i) weights_[i * n + i] += penalty;
  invert_positive_definite(context_, weights_, static_cast<int64_t>(n));
  std::vector<float> diagonal(n);
  for (size_t i = 0; i < n; ++i) diagonal[i] = weights_[i * n + i];
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j)
      weights_[i * n + j] = i == j ? 0.0F : -weights_[i * n + j] / diagonal[j];
  }
}

void Ease::score(std::span<const uint32_t> history, std::span<float> scores) const {
  std::vector<float> sums(ids_.size());
  for (const uint32_t item : different_items(history)) {
    if (place_of_[item] < 0) continue;
    const float* row = weights_.data() + static_cast<size_t>(place_of_[item]) * ids_.size();
    for (size_t j = 0; j < sums.size(); ++j) sums[j] += row[j];
  }
  std::fill(scores.begin(), scores.end(), 0.0F);
  for (size_t j = 0; j < sums.size(); ++j) scores[ids_[j]] = sums[j];
}

}  // namespace quern::metrics
