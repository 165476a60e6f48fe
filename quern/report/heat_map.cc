#include "quern/report/heat_map.h"

#include <algorithm>
#include <cmath>

#include "quern/report/signed_colour.h"

namespace quern::report {

std::vector<uint8_t> heat_map(const PictureBytes& picture, std::span<const double> weights) {
  const auto channels = static_cast<size_t>(picture.channels);
  double most = 0;
  for (const double weight : weights) most = std::max(most, std::abs(weight));
  std::vector<uint8_t> rgb;
  for (size_t i = 0; i < weights.size(); ++i) {
    const uint8_t* pixel = picture.pixels.data() + i * channels;
    // Luma of ITU-R BT.601.
    const double luma =
        channels == 1 ? pixel[0] : 0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2];
    // Pale, from 105 to 255, so that the colour above it is seen.
    const double shade = (105 + luma * 150 / 255) / 255;
    for (const uint8_t part : signed_colour(most > 0 ? weights[i] / most : 0))
      rgb.push_back(static_cast<uint8_t>(std::lround(shade * part)));
  }
  return rgb;
}

}  // namespace quern::report
