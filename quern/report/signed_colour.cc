#include "quern/report/signed_colour.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace quern::report {

std::array<uint8_t, 3> signed_colour(double share) {
  const std::array<double, 3>& end = share < 0 ? kLoweringParts : kRaisingParts;
  const double strength = std::min(1.0, std::abs(share));
  std::array<uint8_t, 3> colour{};
  for (size_t i = 0; i < 3; ++i)
    colour[i] = static_cast<uint8_t>(std::lround(255 + strength * (end[i] - 255)));
  return colour;
}

std::string signed_colour_code(double share) {
  const auto [red, green, blue] = signed_colour(share);
  return fmt::format("#{:02x}{:02x}{:02x}", red, green, blue);
}

}  // namespace quern::report
