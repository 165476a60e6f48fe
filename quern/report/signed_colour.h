#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace quern::report {

/// What raises a result and what lowers it, told apart by eyes that do not see red and green apart.
inline constexpr std::string_view kRaising = "#c8453b";
inline constexpr std::string_view kLowering = "#2f6db3";
/// The same in red, green, blue.
inline constexpr std::array<double, 3> kRaisingParts = {200, 69, 59};
inline constexpr std::array<double, 3> kLoweringParts = {47, 109, 179};

/// White at 0, red towards 1, blue towards -1: red, green, blue.
std::array<uint8_t, 3> signed_colour(double share);
/// The same as "#rrggbb".
std::string signed_colour_code(double share);

}  // namespace quern::report
