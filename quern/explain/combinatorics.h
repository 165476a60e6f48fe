#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "quern/base/random.h"

namespace quern::explain {

/// n over k, rounded as a double rounds; infinite where it does not fit.
inline double choose(size_t n, size_t k) {
  double result = 1;
  for (size_t i = 0; i < k; ++i) {
    result *= static_cast<double>(n - i) / static_cast<double>(i + 1);
  }
  return std::round(result);
}

/// 0 … n - 1 in a random order (Fisher-Yates).
inline std::vector<size_t> random_order(size_t n, Random& random) {
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  for (size_t i = n; i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  return order;
}

/// Sets `count` random ones of `flags` to 1; the others to 0 (Floyd: Bentley & Floyd 1987).
inline void random_subset(size_t count, Random& random, std::span<uint8_t> flags) {
  for (uint8_t& flag : flags) flag = 0;
  for (size_t i = flags.size() - count; i < flags.size(); ++i) {
    const size_t drawn = random.below(i + 1);
    flags[flags[drawn] != 0 ? i : drawn] = 1;
  }
}

}  // namespace quern::explain
