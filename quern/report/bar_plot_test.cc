#include "quern/report/bar_plot.h"

#include <gtest/gtest.h>

#include <limits>

namespace quern::report {
namespace {

TEST(BarPlot, DrawsEveryBarAndEscapesLabels) {
  const std::string svg = bars_to_svg(
      "a < b", {{"x&y", 2}, {"mid", 4}, {"last", std::numeric_limits<double>::quiet_NaN()}});
  size_t bars = 0;
  for (size_t at = svg.find("<rect"); at != std::string::npos; at = svg.find("<rect", at + 1))
    ++bars;
  EXPECT_EQ(bars, 3U);
  EXPECT_NE(svg.find("a &lt; b"), std::string::npos);
  EXPECT_NE(svg.find("x&amp;y: 2"), std::string::npos);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  // The highest bar fills the height, half of it half.
  EXPECT_NE(svg.find("height=\"80.0\""), std::string::npos);
  EXPECT_NE(svg.find("height=\"40.0\""), std::string::npos);
}

TEST(BarPlot, NothingIsDrawnOfNothing) {
  EXPECT_EQ(bars_to_svg("empty", {}).find("<rect"), std::string::npos);
}

}  // namespace
}  // namespace quern::report
