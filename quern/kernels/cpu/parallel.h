#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "quern/kernels/cpu/context.h"

namespace quern::kernels::cpu {

/// Elements that one task of a cheap kernel handles: 64 KiB of float32, some microseconds, so that
/// waking a thread pays. Less than that runs inline.
inline constexpr int64_t kTaskElements = 16384;

inline constexpr int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Rows of `width` that make up one task.
inline constexpr int64_t rows_per_task(int64_t width) {
  return std::max<int64_t>(1, kTaskElements / std::max<int64_t>(1, width));
}

/// Runs task(begin, end) over [0, count) in chunks of `grain`; the split depends on these two only.
template <class Task>
void for_chunks(const Context& context, int64_t count, int64_t grain, const Task& task) {
  if (count <= 0) return;
  const int64_t chunks = divide_up(count, grain);
  if (chunks == 1) return task(int64_t{0}, count);
  context.pool.parallel_for(static_cast<size_t>(chunks), [&](size_t chunk, int) {
    const int64_t begin = static_cast<int64_t>(chunk) * grain;
    task(begin, std::min(count, begin + grain));
  });
}

/// Sums in a pairwise tree whose form depends on `count` only.
inline double tree_sum(const double* x, int64_t count) {
  if (count <= 0) return 0;
  if (count == 1) return x[0];
  const int64_t half = count / 2;
  return tree_sum(x, half) + tree_sum(x + half, count - half);
}

}  // namespace quern::kernels::cpu
