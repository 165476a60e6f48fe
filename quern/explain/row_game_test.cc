#include "quern/explain/row_game.h"

#include <gtest/gtest.h>

#include <array>
#include <numeric>
#include <vector>

#include "quern/base/thread_pool.h"
#include "quern/explain/row_run_testing.h"

namespace quern::explain {
namespace {

/// The first training row against the others, some of them twice.
struct Asked {
  ThreadPool pool{1};
  Small small{true};
  infer::RowPredictor predictor{small.run.config, small.run.parameters, pool};
  ExplainedRow row = take_row(small.run, small.training.table, 0, {});
  RowGame game{small.run, predictor, row, background(), {RowTarget::Scale::kProbability, 1}};

  features::EncodedRows background() const {
    constexpr std::array<size_t, 5> kRows = {1, 2, 3, 2, 1};
    return small.run.pipeline.columns.encode(small.training.table, kRows);
  }
};

Coalitions all_of_two() {
  Coalitions all(2);
  for (uint8_t bits = 0; bits < 4; ++bits) {
    const auto shown = all.add();
    shown[0] = bits & 1;
    shown[1] = bits >> 1;
  }
  return all;
}

TEST(RowGame, IsTheMeanOfItsCases) {
  Asked asked;
  ASSERT_EQ(asked.game.cases(), 5U);
  const Coalitions all = all_of_two();
  std::vector<double> values(4), in_case(4), sums(4);
  asked.game.evaluate(all, values);
  for (size_t b = 0; b < 5; ++b) {
    asked.game.evaluate_cases(all, std::vector<size_t>(4, b), in_case);
    for (size_t i = 0; i < 4; ++i) sums[i] += in_case[i] / 5;
  }
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(values[i], sums[i], 1e-12) << i;
  EXPECT_NE(values[0], values[1]);
}

TEST(RowGame, RowsThatComeOutAlikeAreAskedOnce) {
  Asked asked;
  const Coalitions all = all_of_two();
  std::vector<double> values(4);
  asked.game.evaluate(all, values);
  // The row itself, and three distinct background rows for each of the other three coalitions.
  EXPECT_EQ(asked.game.answered(), 1U + 3 * 3);
}

}  // namespace
}  // namespace quern::explain
