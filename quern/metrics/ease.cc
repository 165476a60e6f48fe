#include "quern/metrics/ease.h"

#include <algorithm>
#include <numeric>

#include "quern/kernels/cpu/gemm.h"
#include "quern/metrics/recommendation.h"
#include "quern/tensor/buffer.h"

namespace quern::metrics {
namespace {

using kernels::cpu::Context;
using kernels::cpu::Gemm;

constexpr int64_t kLeaf = 48;

class Inverter {
 public:
  Inverter(const Context& context, int64_t stride) : context_(context), stride_(stride) {}

  void invert(float* a, int64_t n) {
    if (n <= kLeaf) return invert_leaf(a, n);
    const int64_t half = n / 2;
    const int64_t rest = n - half;
    float* below = a + half * stride_;  // (rest, half)
    float* corner = below + half;       // (rest, rest)
    invert(a, half);
    std::vector<float> product(static_cast<size_t>(rest * half));  // −A21·A11⁻¹
    multiply({.m = rest,
              .n = half,
              .k = half,
              .a = below,
              .lda = stride_,
              .b = a,
              .ldb = stride_,
              .c = product.data(),
              .ldc = half});
    for (float& value : product) value = -value;
    multiply({.m = rest,
              .n = rest,
              .k = half,
              .a = product.data(),
              .lda = half,
              .b = below,
              .ldb = stride_,
              .transpose_b = true,
              .c = corner,
              .ldc = stride_,
              .accumulate = true});
    invert(corner, rest);
    multiply({.m = rest,
              .n = half,
              .k = rest,
              .a = corner,
              .lda = stride_,
              .b = product.data(),
              .ldb = half,
              .c = below,
              .ldc = stride_});
    multiply({.m = half,
              .n = half,
              .k = rest,
              .a = product.data(),
              .lda = half,
              .transpose_a = true,
              .b = below,
              .ldb = stride_,
              .c = a,
              .ldc = stride_,
              .accumulate = true});
    for (int64_t i = 0; i < rest; ++i)
      for (int64_t j = 0; j < half; ++j) a[j * stride_ + half + i] = below[i * stride_ + j];
  }

 private:
  void multiply(const Gemm& gemm) {
    const size_t need = kernels::cpu::gemm_scratch(gemm);
    if (scratch_.size() < need) scratch_ = Buffer(need);
    kernels::cpu::gemm(context_, gemm, scratch_.data());
  }

  /// Gauss-Jordan in float64; a positive definite matrix needs no pivoting.
  void invert_leaf(float* a, int64_t n) {
    std::vector<double> m(static_cast<size_t>(n * n));
    const auto at = [&](int64_t i, int64_t j) -> double& {
      return m[static_cast<size_t>(i * n + j)];
    };
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j) at(i, j) = static_cast<double>(a[i * stride_ + j]);
    for (int64_t k = 0; k < n; ++k) {
      const double pivot = 1 / at(k, k);
      at(k, k) = 1;
      for (int64_t j = 0; j < n; ++j) at(k, j) *= pivot;
      for (int64_t i = 0; i < n; ++i) {
        if (i == k) continue;
        const double factor = at(i, k);
        at(i, k) = 0;
        for (int64_t j = 0; j < n; ++j) at(i, j) -= factor * at(k, j);
      }
    }
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j) a[i * stride_ + j] = static_cast<float>(at(i, j));
  }

  const Context& context_;
  int64_t stride_;
  Buffer scratch_;
};

}  // namespace

void invert_positive_definite(const Context& context, std::span<float> matrix, int64_t n) {
  Inverter(context, n).invert(matrix.data(), n);
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
