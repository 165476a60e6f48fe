#include "quern/graph/pack.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

namespace quern::graph {

size_t pack(std::span<Slot> slots) {
  std::vector<size_t> order(slots.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    if (slots[a].bytes != slots[b].bytes) return slots[a].bytes > slots[b].bytes;
    if (slots[a].first != slots[b].first) return slots[a].first < slots[b].first;
    return a < b;
  });
  std::vector<size_t> placed;  // by offset
  size_t total = 0;
  for (const size_t index : order) {
    Slot& slot = slots[index];
    size_t best = std::numeric_limits<size_t>::max();  // the gap that fits tightest
    size_t best_gap = std::numeric_limits<size_t>::max();
    size_t cursor = 0;
    for (const size_t other_index : placed) {
      const Slot& other = slots[other_index];
      if (other.last < slot.first || slot.last < other.first) continue;
      if (other.offset >= cursor + slot.bytes && other.offset - cursor < best_gap) {
        best_gap = other.offset - cursor;
        best = cursor;
      }
      cursor = std::max(cursor, other.offset + other.bytes);
    }
    slot.offset = best == std::numeric_limits<size_t>::max() ? cursor : best;
    total = std::max(total, slot.offset + slot.bytes);
    const auto place =
        std::upper_bound(placed.begin(), placed.end(), slot.offset,
                         [&](size_t offset, size_t i) { return offset < slots[i].offset; });
    placed.insert(place, index);
  }
  return total;
}

size_t pack_lower_bound(std::span<const Slot> slots) {
  int32_t end = 0;
  for (const Slot& slot : slots) end = std::max(end, slot.last + 1);
  size_t peak = 0;
  for (int32_t step = 0; step < end; ++step) {
    size_t live = 0;
    for (const Slot& slot : slots) {
      if (slot.first <= step && step <= slot.last) live += slot.bytes;
    }
    peak = std::max(peak, live);
  }
  return peak;
}

}  // namespace quern::graph
