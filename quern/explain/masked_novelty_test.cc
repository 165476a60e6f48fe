#include "quern/explain/masked_novelty.h"

#include <gtest/gtest.h>

#include <cmath>
#include <initializer_list>
#include <numbers>
#include <numeric>

#include "quern/base/random.h"
#include "quern/data/table_reader.h"
#include "quern/explain/fold_answers.h"
#include "quern/explain/row_run_testing.h"
#include "quern/infer/representation.h"

namespace quern::explain {
namespace {

struct Fitted {
  data::Table table;
  features::ColumnEncoder encoder;
  features::EncodedRows background;
};

/// Two numbers, equal to each other or independent, and a category.
Fitted fitted(bool equal) {
  Random random(1, Stream::kTest);
  std::string text = "a,b,c,y\n";
  for (int i = 0; i < 80; ++i) {
    const uint64_t a = random.below(1000), b = equal ? a : random.below(1000);
    text += std::to_string(a) + "," + std::to_string(b) + (i % 2 == 0 ? ",x,1\n" : ",z,2\n");
  }
  Fitted out{data::read_csv_text(text, "rows"), {}, {}};
  std::vector<size_t> rows(out.table.rows());
  std::iota(rows.begin(), rows.end(), size_t{0});
  out.encoder =
      features::ColumnEncoder::fit(out.table, data::infer_types(out.table, {}), "y", rows);
  out.background = out.encoder.encode(out.table, rows);
  return out;
}

ExplainedRow row_of(const Fitted& from, std::string_view csv) {
  ExplainedRow row;
  const data::Table one = data::read_csv_text("a,b,c\n" + std::string(csv) + "\n", "row");
  const std::vector<size_t> first = {0};
  row.inputs.columns = from.encoder.encode(one, first);
  for (size_t i = 0; i < from.encoder.numbers().size(); ++i)
    row.parts.emplace_back().numbers.push_back(i);
  for (size_t i = 0; i < from.encoder.categories().size(); ++i)
    row.parts.emplace_back().categories.push_back(i);
  return row;
}

TEST(MaskedNovelty, ColumnsThatHangTogetherArePulledApart) {
  const Fitted apart = fitted(false), equal = fitted(true);
  const auto alike = masked_novelty(apart.encoder, row_of(apart, "500,500,x"), apart.background, 1);
  const auto torn = masked_novelty(equal.encoder, row_of(equal, "950,950,x"), equal.background, 1);
  ASSERT_TRUE(alike && torn);
  EXPECT_LT(alike->value, 0.65);
  EXPECT_GT(torn->value, 0.75);
  EXPECT_GT(torn->low, alike->high);
}

/// Directions around (1, 0), in degrees.
std::vector<float> directions(std::initializer_list<double> degrees, float length) {
  std::vector<float> points;
  for (const double at : degrees) {
    points.push_back(length * static_cast<float>(std::cos(at * std::numbers::pi / 180)));
    points.push_back(length * static_cast<float>(std::sin(at * std::numbers::pi / 180)));
  }
  return points;
}

TEST(MaskedNovelty, OfRepresentedRowsIsByDirection) {
  const std::vector<float> known = directions({0, 10, 20, 30, 40}, 1), own = directions({15}, 9);
  const auto of = [&](const std::vector<float>& masked) {
    return represented_novelty(known, masked, own, 1)->value;
  };
  // 10 degrees is how far each known row is from the nearest other.
  EXPECT_EQ(of(directions({-12, 53, 90}, 1)), 1);
  EXPECT_EQ(of(directions({3, 15, 44}, 7)), 0);
  EXPECT_EQ(of(directions({4, 60}, 0.1F)), 0.5);
}

TEST(MaskedNovelty, TheRowItselfIsNoKnownRow) {
  const std::vector<float> known = directions({0, 10, 20, 90}, 1);
  const std::vector<float> masked = directions({88, 92}, 1);
  EXPECT_EQ(represented_novelty(known, masked, directions({90}, 3), 1)->value, 1);
  EXPECT_LT(represented_novelty(known, masked, directions({50}, 3), 1)->value, 0.3);
  EXPECT_FALSE(represented_novelty(directions({0, 10, 20}, 1), masked, directions({20}, 1), 1));
}

TEST(MaskedNovelty, RowsAreRepresentedByEachCopyInTurn) {
  Small both(true, 2);
  ThreadPool pool(1);
  std::vector<size_t> rows(both.training.table.rows());
  std::iota(rows.begin(), rows.end(), size_t{0});
  const task::RowInputs inputs =
      task::make_row_inputs(both.run.pipeline.columns.encode(both.training.table, rows), both.run);
  const std::vector<float> found =
      infer::represent(both.run.config, both.run.parameters, inputs, pool);
  const size_t each = infer::representation_width(both.run.config) / 2;
  ASSERT_EQ(found.size(), rows.size() * 2 * each);
  for (size_t copy = 0; copy < 2; ++copy) {
    graph::ParameterStore weights = copy_of(both.run, static_cast<int64_t>(copy));
    for (const size_t row : rows) {
      const std::vector<float> one = infer::represent(both.run.config.single(), weights,
                                                      inputs.select(std::span(&row, 1)), pool);
      ASSERT_EQ(one.size(), each);
      for (size_t i = 0; i < each; ++i)
        EXPECT_NEAR(found[(row * 2 + copy) * each + i], one[i], 1e-5) << row << " " << i;
    }
  }
}

TEST(MaskedNovelty, NeedsColumnsAndRows) {
  const Fitted from = fitted(false);
  ExplainedRow row = row_of(from, "1,2,x");
  EXPECT_FALSE(masked_novelty(from.encoder, row, {}, 1).has_value());
  row.parts.resize(1);
  EXPECT_FALSE(masked_novelty(from.encoder, row, from.background, 1).has_value());
}

}  // namespace
}  // namespace quern::explain
