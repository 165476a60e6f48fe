#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace quern::report {

/// Pixels of a picture, one byte each: (height, width, channels), channels 1 or 3.
struct PictureBytes {
  int64_t height = 0, width = 0, channels = 1;
  std::span<const uint8_t> pixels;
};

/// The picture in pale grey under the weight of each of its pixels: red raises, blue lowers, as
/// strong as its share of the largest weight. weights (height · width); gives (height, width, 3).
std::vector<uint8_t> heat_map(const PictureBytes& picture, std::span<const double> weights);

}  // namespace quern::report
