#pragma once

#include <cstddef>
#include <vector>

namespace quern {

/// `count` ≤ total of 0 … total - 1, as far apart as they can be.
inline std::vector<size_t> evenly_spread(size_t total, size_t count) {
  std::vector<size_t> places;
  places.reserve(count);
  for (size_t i = 0; i < count; ++i) places.push_back((2 * i + 1) * total / (2 * count));
  return places;
}

}  // namespace quern
