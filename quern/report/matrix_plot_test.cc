#include "quern/report/matrix_plot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>

namespace quern::report {
namespace {

using testing::HasSubstr;

TEST(MatrixPlot, ShadesByTheShareOfARowAndWritesCounts) {
  MatrixPlot plot;
  plot.title = "a & b";
  plot.names = {"<yes>", "a name that is much too long"};
  plot.counts = {3, 1, 0, 0};
  const std::string svg = to_svg(plot);
  EXPECT_THAT(svg, HasSubstr("fill-opacity=\"0.750\""));
  EXPECT_THAT(svg, HasSubstr("fill-opacity=\"0.250\""));
  EXPECT_THAT(svg, HasSubstr("&lt;yes&gt; → a name that is much too long: 1 (25.0 %)"));
  EXPECT_THAT(svg, HasSubstr(">a name that is m…</text>"));
  EXPECT_THAT(svg, HasSubstr("a &amp; b"));
  EXPECT_THAT(svg, testing::Not(HasSubstr("nan")));
}

TEST(MatrixPlot, RefusesAnotherNumberOfCounts) {
  MatrixPlot plot;
  plot.names = {"a", "b"};
  plot.counts = {1, 2, 3};
  EXPECT_THROW(to_svg(plot), std::invalid_argument);
}

}  // namespace
}  // namespace quern::report
