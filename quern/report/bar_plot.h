#pragma once

#include <string>
#include <vector>

namespace quern::report {

struct Bar {
  std::string label;
  double value = 0;  // 0 or more
};

/// A self-contained SVG element of upright bars, the first and last label below, the highest value
/// beside. Values that are not finite count as 0.
std::string bars_to_svg(const std::string& title, const std::vector<Bar>& bars);

}  // namespace quern::report
