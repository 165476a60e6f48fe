#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <span>

namespace quern::metrics {

/// Scores of one row to probabilities, in place. Returns the logarithm of what they were divided
/// by. The row must not be empty.
template <std::floating_point T>
T softmax(std::span<T> row) {
  const T highest = *std::max_element(row.begin(), row.end());
  T sum = 0;
  for (T& value : row) {
    value = std::exp(value - highest);
    sum += value;
  }
  for (T& value : row) value /= sum;
  return highest + std::log(sum);
}

}  // namespace quern::metrics
