#include "quern/report/svg.h"

#include <fmt/format.h>

#include "quern/report/line_plot.h"

namespace quern::report {

std::string open_svg(double width, double height) {
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" "
      "height=\"{1}\" role=\"img\" font-family=\"sans-serif\" font-size=\"12\">",
      width, height);
}

std::vector<double> Range::ticks(int count) const {
  std::vector<double> out = nice_ticks(low, high, count);
  std::erase_if(out, [this](double tick) { return tick < low || tick > high; });
  return out;
}

}  // namespace quern::report
