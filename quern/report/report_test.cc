#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <stdexcept>

#include "quern/report/html.h"
#include "quern/report/line_plot.h"

namespace quern::report {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

TEST(NiceTicks, AreRoundAndWithin) {
  EXPECT_THAT(nice_ticks(0, 10, 5), ElementsAre(0, 2, 4, 6, 8, 10));
  EXPECT_THAT(nice_ticks(1.9, 4.1, 4),
              ElementsAre(testing::DoubleEq(2), testing::DoubleEq(2.5), testing::DoubleEq(3),
                          testing::DoubleEq(3.5), testing::DoubleEq(4)));
  EXPECT_EQ(nice_ticks(3, 3, 5).size(), 1U);
}

TEST(LinePlot, PutsPointsWhereTheyBelongAndLeavesOutWhatIsNotFinite) {
  LinePlot plot;
  plot.title = "loss <of> \"a\" & b";
  plot.series = {{"train", {{0, 0}, {5, std::numeric_limits<double>::quiet_NaN()}, {10, 1}}}};
  const std::string svg = to_svg(plot);
  // Left bottom and right top of the drawing area: 76…740 by 294…34.
  EXPECT_THAT(svg, HasSubstr("points=\"76.0,294.0 740.0,34.0 \""));
  EXPECT_THAT(svg, HasSubstr("loss &lt;of&gt; &quot;a&quot; &amp; b"));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
}

TEST(LinePlot, DotsAreNotJoined) {
  LinePlot plot;
  plot.series = {{"errors", {{0, 0}, {10, 1}}, true}};
  const std::string svg = to_svg(plot);
  EXPECT_THAT(svg, HasSubstr("<circle cx=\"740.0\" cy=\"34.0\""));
  EXPECT_THAT(svg, Not(HasSubstr("polyline")));
}

TEST(LinePlot, ASinglePointIsSeen) {
  LinePlot plot;
  plot.series = {{"a", {{20, 3.5}, {40, NAN}}, false}, {"b", {{20, 3}, {40, 2}}, false}};
  const std::string svg = to_svg(plot);
  EXPECT_THAT(svg, HasSubstr("<circle"));
  EXPECT_EQ(svg.find("<polyline"), svg.rfind("<polyline"));
}

TEST(LinePlot, OnlyNamedCurvesStandInTheLegend) {
  LinePlot plot;
  plot.series = {{"", {{0, 0}, {1, 1}}}};
  EXPECT_THAT(to_svg(plot), Not(HasSubstr("stroke-width=\"3\"")));
  plot.series.front().name = "train";
  EXPECT_THAT(to_svg(plot), HasSubstr("stroke-width=\"3\""));
}

TEST(LinePlot, EmptyAndFlatSeriesStillDraw) {
  LinePlot plot;
  plot.series = {{"a", {}}, {"b", {{1, 2}}}};
  EXPECT_THAT(to_svg(plot), Not(HasSubstr("nan")));
  EXPECT_THAT(to_svg(LinePlot{}), HasSubstr("</svg>"));
}

TEST(HtmlPage, PicturesStandInThePageItself) {
  HtmlPage page("t");
  page.pictures({{"data:image/png;base64,AAAA", "cat <95 %>"}}, 96);
  EXPECT_THAT(page.str(), HasSubstr("<img src=\"data:image/png;base64,AAAA\" width=\"96\""));
  EXPECT_THAT(page.str(), HasSubstr("<figcaption>cat &lt;95 %&gt;</figcaption>"));
  EXPECT_THROW(page.pictures({{"https://example.com/a.png", ""}}, 96), std::invalid_argument);
}

TEST(HtmlPage, EscapesEverythingGiven) {
  HtmlPage page("<t>");
  page.heading("<script>");
  page.preformatted("a\x01<b>");
  page.table({"<h>"}, {{"<c>"}});
  const std::string html = page.str();
  EXPECT_THAT(html, HasSubstr("&lt;script&gt;"));
  EXPECT_THAT(html, HasSubstr("<pre>a&lt;b&gt;</pre>"));
  EXPECT_THAT(html, HasSubstr("<td>&lt;c&gt;</td>"));
  EXPECT_THAT(html, Not(HasSubstr("<script>")));
}

TEST(MarkdownTable, EscapesBars) {
  EXPECT_EQ(markdown_table({"a", "b"}, {{"1|2", "x\ny"}}),
            "| a | b |\n| --- | --- |\n| 1\\|2 | x y |\n");
}

}  // namespace
}  // namespace quern::report
