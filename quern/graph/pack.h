#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace quern::graph {

/// A buffer that must stand from step `first` to step `last`, both included.
struct Slot {
  size_t bytes = 0;  // a multiple of Buffer::kAlignment
  int32_t first = 0, last = 0;
  size_t offset = 0;
};

/// Lays the slots out in one arena so that no two that live at the same step overlap, and returns
/// its bytes. Greedy by size, best fit (Pisarchyk & Lee 2020, "Efficient memory management for deep
/// neural net inference", section 4).
size_t pack(std::span<Slot> slots);

/// What no layout can go below: the most bytes live at one step.
size_t pack_lower_bound(std::span<const Slot> slots);

}  // namespace quern::graph
