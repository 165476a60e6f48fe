#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace quern::report {

/// Columns that a text takes on a terminal: Chinese, Japanese and Korean characters take two.
size_t display_width(std::string_view utf8);
/// Cut to so many columns, with an ellipsis where something is left out; line ends become spaces.
std::string fit_width(std::string_view utf8, size_t columns);

}  // namespace quern::report
