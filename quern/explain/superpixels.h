#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace quern::explain {

/// A picture (height, width, 3), 8 bits of sRGB each.
struct PictureView {
  size_t height = 0, width = 0;
  std::span<const uint8_t> pixels;
};

struct Superpixels {
  std::vector<uint32_t> labels;  // (height, width), 0 … count - 1
  size_t count = 0;
};

/// Simple linear iterative clustering (Achanta et al. 2012) in CIELAB and place: about `segments`
/// compact regions of like colour. A larger compactness weighs place more. Regions are connected:
/// what is cut off, or less than a quarter of the mean size, joins a neighbour.
Superpixels slic(const PictureView& picture, size_t segments = 50, double compactness = 10);

}  // namespace quern::explain
