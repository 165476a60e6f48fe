#include "quern/features/columns.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "quern/base/error.h"
#include "quern/data/table_reader.h"

namespace quern::features {
namespace {

using testing::ElementsAre;

std::vector<size_t> all(const data::Table& table) {
  std::vector<size_t> rows(table.rows());
  std::iota(rows.begin(), rows.end(), size_t{0});
  return rows;
}

TEST(ColumnEncoder, NumbersArePlacesAmongTheTrainingQuantiles) {
  const data::Table table = data::read_csv_text("x,y\n1,a\n2,b\n4,a\n?,b\n9,a\n", "t");
  const auto facts = data::infer_types(table, {});
  const std::vector<size_t> training = {0, 1, 2, 3};
  const ColumnEncoder encoder = ColumnEncoder::fit(table, facts, "y", training);
  ASSERT_EQ(encoder.numbers().size(), 1U);
  EXPECT_THAT(encoder.numbers()[0].knots, ElementsAre(1, 2, 4));
  EXPECT_EQ(encoder.number_bins(), 3);
  const EncodedRows rows = encoder.encode(table, all(table));
  EXPECT_FLOAT_EQ(rows.places[0], 0);
  EXPECT_FLOAT_EQ(rows.places[1], 1);
  EXPECT_TRUE(std::isnan(rows.places[3]));
  EXPECT_FLOAT_EQ(rows.places[4], 2) << "beyond what training saw";
  EXPECT_FLOAT_EQ(encoder.numbers()[0].place(3), 1.5);
  float code[3];
  ColumnEncoder::write_code(1.5F, 3, code);
  EXPECT_THAT(code, ElementsAre(1, 0.5F, 0));
  ColumnEncoder::write_code(2, 3, code);
  EXPECT_THAT(code, ElementsAre(1, 1, 0));
  ColumnEncoder::write_code(NAN, 3, code);
  EXPECT_THAT(code, ElementsAre(0, 0, 1));
}

TEST(ColumnEncoder, WhatTrainingNeverLackedIsTheMeanWhereItIsMissing) {
  const data::Table table = data::read_csv_text("x,z,y\n1,5,a\n2,?,b\n6,7,a\n3,9,b\n?,?,b\n", "t");
  const ColumnEncoder encoder =
      ColumnEncoder::fit(table, data::infer_types(table, {}), "y", std::vector<size_t>{0, 1, 2, 3});
  const auto same = [&](const ColumnEncoder& one) {
    const EncodedRows rows = one.encode(table, all(table));
    EXPECT_FLOAT_EQ(rows.places[8], 2);  // the mean, 3, which is a knot
    EXPECT_TRUE(std::isnan(rows.places[9]));
  };
  same(encoder);
  nlohmann::json json = encoder.to_json();
  same(ColumnEncoder::from_json(json, "t"));
  for (auto& number : json["numbers"]) number.erase("missing");  // as older runs have it
  const EncodedRows old = ColumnEncoder::from_json(json, "t").encode(table, all(table));
  EXPECT_TRUE(std::isnan(old.places[8]));
}

TEST(ColumnEncoder, AValueThatFillsPiecesIsOneKnotAndTheOthersShareTheRest) {
  // Nine of ten are 0; 5 comes often among the others, which are 1 … 100 once each.
  std::string text = "x,y\n";
  for (int i = 0; i < 1350; ++i) text += "0,a\n";
  for (int i = 0; i < 50; ++i) text += "5,b\n";
  for (int i = 1; i <= 100; ++i) text += std::to_string(i) + ",b\n";
  const data::Table table = data::read_csv_text(text, "t");
  const ColumnEncoder encoder =
      ColumnEncoder::fit(table, data::infer_types(table, {}), "y", all(table), 12);
  const std::vector<double>& knots = encoder.numbers()[0].knots;
  ASSERT_EQ(knots.size(), 13U);
  EXPECT_THAT(std::vector(knots.begin(), knots.begin() + 3), ElementsAre(0, 1, 5));
  EXPECT_EQ(knots.back(), 100);
  for (size_t i = 3; i < knots.size(); ++i) EXPECT_NEAR(knots[i] - knots[i - 1], 10, 5) << i;
}

TEST(ColumnEncoder, RareAndUnseenCategoriesAreUnknown) {
  const data::Table table =
      data::read_csv_text("c,y\na,1\na,0\nb,1\nb,0\nrare,1\n,0\nnew,1\n", "t");
  const std::vector<size_t> training = {0, 1, 2, 3, 4, 5};
  const auto facts = data::infer_types(table, {});
  const ColumnEncoder encoder = ColumnEncoder::fit(table, facts, "y", training);
  EXPECT_THAT(encoder.encode(table, all(table)).category_ids, ElementsAre(1, 1, 2, 2, 0, 3, 0));
}

TEST(ColumnEncoder, DatesBecomeTheirParts) {
  const data::Table table =
      data::read_csv_text("d,y\n2024-01-05,1\n2024-02-06,0\n2024-03-05,1\n", "t");
  const ColumnEncoder encoder =
      ColumnEncoder::fit(table, data::infer_types(table, {}), "y", all(table));
  std::vector<NumberSource> sources;
  for (const auto& feature : encoder.numbers()) sources.push_back(feature.source);
  EXPECT_THAT(sources, ElementsAre(NumberSource::kMonth, NumberSource::kDay, NumberSource::kWeekday,
                                   NumberSource::kElapsedDays));
  EXPECT_THAT(encoder.columns(), ElementsAre("d"));
}

TEST(ColumnEncoder, IsSavedWhole) {
  const data::Table table = data::read_csv_text(
      "x,c,t,d,y\n1,a,the cat sat on the mat,2024-01-05,1\n2,b,a dog barked at night "
      "today,2024-02-06,0\n4,a,one more text of words here,2024-03-07,1\n",
      "t");
  const ColumnEncoder encoder =
      ColumnEncoder::fit(table, data::infer_types(table, {}), "y", all(table));
  const nlohmann::json json = nlohmann::json::parse(encoder.to_json().dump());
  const ColumnEncoder read = ColumnEncoder::from_json(json, "pipeline.json");
  EXPECT_EQ(read.encode(table, all(table)).places, encoder.encode(table, all(table)).places);
  EXPECT_EQ(read.encode(table, all(table)).category_ids,
            encoder.encode(table, all(table)).category_ids);
  EXPECT_EQ(read.encode(table, all(table)).texts[0], "the cat sat on the mat");
  nlohmann::json broken = json;
  broken["numbers"][0]["knots"] = {2, 1};
  EXPECT_THROW(ColumnEncoder::from_json(broken, "p"), FormatError);
  const data::Table other = data::read_csv_text("x,y\n1,1\n", "t");
  EXPECT_THROW(encoder.encode(other, all(other)), Error);
}

}  // namespace
}  // namespace quern::features
