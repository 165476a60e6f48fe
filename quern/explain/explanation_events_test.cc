#include "quern/explain/explanation_events.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "quern/data/test_support.h"
#include "quern/explain/contributions.h"
#include "quern/formats/png.h"

namespace quern::explain {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// Two parts: one raises the answer by a quarter, the other lowers it by an eighth.
Explanation example() {
  Explanation e;
  e.target = "probability of class bad";
  e.input = "row 1 of loans.csv";
  e.unit = "probability";
  e.attribution.method = "permutation";
  e.attribution.base = 0.5;
  e.attribution.value = 0.625;
  e.attribution.phi = {-0.125, 0.25};
  e.attribution.standard_errors = {0.01, 0.02};
  e.attribution.margins = {0.02, 0.04};
  e.parts = {{"column", "savings", "10|20", 0}, {"column", "months", "48", 1}};
  return e;
}

class ExplanationEvents : public data::FolderTest {
 protected:
  /// All values of the event file that one was written to.
  template <typename Explained>
  std::vector<formats::EventValue> written(const Explained& e, int64_t step) const {
    formats::EventWriter events(folder_);
    write_events(events, step, e);
    events.flush();
    std::vector<formats::EventValue> values;
    for (const formats::Event& event :
         formats::read_events(read_file(events.path()), "events").events) {
      for (const formats::EventValue& value : event.values) {
        EXPECT_EQ(event.step, step);
        values.push_back(value);
      }
    }
    return values;
  }
};

TEST_F(ExplanationEvents, TellEachContributionWithItsInterval) {
  const std::vector<formats::EventValue> values = written(example(), 3);
  ASSERT_EQ(values.size(), 1U);
  EXPECT_EQ(values[0].tag, "explain/attributions/text");
  EXPECT_EQ(values[0].plugin, "text");
  ASSERT_EQ(values[0].texts.size(), 1U);
  const std::string& text = values[0].texts[0];
  EXPECT_THAT(text, HasSubstr("| explained | probability of class bad |"));
  const size_t months = text.find("| months | 48 | +0.25 | +0.21 to +0.29 |");
  const size_t savings = text.find("| savings | 10\\|20 | -0.125 | -0.145 to -0.105 |");
  ASSERT_NE(months, std::string::npos) << text;
  ASSERT_NE(savings, std::string::npos) << text;
  EXPECT_LT(months, savings) << "the strongest stands first";
}

TEST_F(ExplanationEvents, TellWhatMattersOverADataSet) {
  Explanation first = example(), second = example();
  second.attribution.phi = {0.375, -0.75};
  GlobalExplanation global = summarise(std::array{first, second}, 1);
  global.input = "loans.csv";
  const std::vector<formats::EventValue> values = written(global, 5);
  ASSERT_EQ(values.size(), 1U);
  EXPECT_EQ(values[0].tag, "explain/importance/text");
  EXPECT_EQ(values[0].plugin, "text");
  const std::string& text = values[0].texts.at(0);
  EXPECT_THAT(text, HasSubstr("| explained | probability of class bad |"));
  EXPECT_THAT(text, HasSubstr("| input | loans.csv |"));
  EXPECT_THAT(text, HasSubstr("| rows | 2 |"));
  // Mean sizes (0.25 + 0.75) / 2 and (0.125 + 0.375) / 2; the bootstrap draws one row twice, or
  // both.
  const size_t months = text.find("| months | 0.5 | 0.25 to 0.75 | -0.25 | 2 |");
  const size_t savings = text.find("| savings | 0.25 | 0.125 to 0.375 | +0.125 | 2 |");
  ASSERT_NE(months, std::string::npos) << text;
  ASSERT_NE(savings, std::string::npos) << text;
  EXPECT_LT(months, savings) << "the strongest stands first";
  EXPECT_THAT(text, HasSubstr("bootstrap over rows"));
}

TEST_F(ExplanationEvents, ShowTheHeatMapOfAPicture) {
  Explanation e = example();
  e.picture = {2, 3, 1, {0, 255, 9, 80, 80, 80}, {1, 1, -1, 0, 0, 0}};
  const std::vector<formats::EventValue> values = written(e, 0);
  ASSERT_EQ(values.size(), 2U);
  EXPECT_EQ(values[1].tag, "explain/attributions/heatmap");
  EXPECT_EQ(values[1].plugin, "images");
  const std::vector<uint8_t> heat = heat_pixels(e);
  EXPECT_THAT(values[1].texts, ElementsAre("3", "2", formats::encode_png({2, 3, 3, heat})));
  const auto red = [&](size_t pixel) { return heat[3 * pixel] - heat[3 * pixel + 2]; };
  EXPECT_GT(red(0), 0);
  EXPECT_GT(red(1), 0);
  EXPECT_EQ(red(2), 0) << "no part's: grey";
  EXPECT_LT(red(4), 0);
}

}  // namespace
}  // namespace quern::explain
