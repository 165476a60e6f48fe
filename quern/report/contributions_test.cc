#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "quern/report/beeswarm.h"
#include "quern/report/coloured_text.h"
#include "quern/report/heat_map.h"
#include "quern/report/signed_colour.h"
#include "quern/report/terminal_bars.h"
#include "quern/report/text_width.h"
#include "quern/report/waterfall.h"

namespace quern::report {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(TextWidth, ChineseTakesTwoColumns) {
  EXPECT_EQ(display_width("ab"), 2U);
  EXPECT_EQ(display_width("春风a"), 5U);
  EXPECT_EQ(fit_width("春风又绿江南岸", 7), "春风又…");
  EXPECT_EQ(fit_width("a\nb", 7), "a b");
}

TEST(TerminalBars, RaisingGoesRightLoweringLeft) {
  const std::string text = signed_bars({{"up", 2, ""}, {"down", -1, "sure"}});
  EXPECT_THAT(text, HasSubstr("up" + std::string(11, ' ') + "+2" + std::string(15, ' ') +
                              "│██████████████"));
  EXPECT_THAT(text,
              HasSubstr("down" + std::string(9, ' ') + "-1" + std::string(8, ' ') + "███████│"));
  EXPECT_THAT(text, HasSubstr("sure\n"));
}

TEST(SignedColour, WhiteRedBlue) {
  EXPECT_EQ(signed_colour_code(0), "#ffffff");
  EXPECT_EQ(signed_colour_code(1), kRaising);
  EXPECT_EQ(signed_colour_code(-1), kLowering);
  EXPECT_EQ(signed_colour_code(7), kRaising);
}

TEST(Waterfall, NamesEveryStepEscaped) {
  const std::string svg =
      to_svg(Waterfall{"base", "value", 1, 2, {{"<a>", 1.5, 0.1}, {"b", -0.5, 0}}});
  EXPECT_THAT(svg, HasSubstr("&lt;a&gt;"));
  EXPECT_THAT(svg, Not(HasSubstr("<a>")));
  EXPECT_THAT(svg, HasSubstr("+1.5"));
  EXPECT_THAT(to_svg(Waterfall{"base", "value", 3, 3, {}}), HasSubstr("</svg>"));
}

TEST(ColouredText, TheStrongestIsFullRed) {
  const std::string html = coloured_text({{"大", 2, "n"}, {"<", -1, "m"}});
  EXPECT_THAT(html, HasSubstr(std::string("background:") + std::string(kRaising)));
  EXPECT_THAT(html, HasSubstr("&lt;</span>"));
}

TEST(HeatMap, ColoursByWeight) {
  const std::vector<uint8_t> pixels = {255, 0};
  const auto rgb = heat_map({1, 2, 1, pixels}, std::vector<double>{0.0, -3.0});
  ASSERT_EQ(rgb.size(), 6U);
  EXPECT_EQ(rgb[0], 255);     // white, no weight
  EXPECT_LT(rgb[3], rgb[5]);  // blue above red
}

TEST(Beeswarm, ADotARowAndGreyForWhatIsNoNumber) {
  Beeswarm plot;
  plot.rows = {{"x", {{0.5, 1}, {0.5, std::numeric_limits<double>::quiet_NaN()}}}};
  const std::string svg = to_svg(plot);
  EXPECT_THAT(svg, HasSubstr("#888888"));
  EXPECT_THAT(svg, HasSubstr("#c8453b"));
  Dependence dependence;
  dependence.categories = {"a", "b"};
  dependence.dots = {{0, 1}, {1, -1}};
  EXPECT_THAT(to_svg(dependence), HasSubstr(">b</text>"));
  EXPECT_THAT(to_svg(Dependence{}), HasSubstr("</svg>"));
}

}  // namespace
}  // namespace quern::report
