#include "quern/task/linear_start.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <string>

#include "quern/base/random.h"
#include "quern/data/table_reader.h"

namespace quern::task {
namespace {

/// Correlation of a label (±1) with the difference of its two scores.
double agreement(const std::vector<float>& scores, const RowTargets& targets, size_t begin,
                 size_t end) {
  double together = 0;
  double squares = 0;
  for (size_t row = begin; row < end; ++row) {
    const double score = static_cast<double>(scores[2 * row + 1] - scores[2 * row]);
    together += targets.classes[row] == 1 ? score : -score;
    squares += score * score;
  }
  return squares > 0 ? together / std::sqrt(squares * static_cast<double>(end - begin)) : 0;
}

struct Made {
  data::Table table;
  run::RowPipeline pipeline;
  features::EncodedRows rows;
  RowTargets targets;
};

/// Twenty columns of noise; the label is noise too, or follows the first column.
Made make(size_t rows, bool follows) {
  Random random(3, Stream::kTest);
  std::string text;
  for (int i = 0; i < 20; ++i) text += "x" + std::to_string(i) + "z,";
  text += "y\n";
  Made made;
  for (size_t row = 0; row < rows; ++row) {
    double first = 0;
    for (int i = 0; i < 20; ++i) {
      const double x = random.normal();
      if (i == 0) first = x;
      text += std::to_string(x) + ",";
    }
    const bool label = follows ? first > 0 : random.uniform() < 0.5;
    made.targets.classes.push_back(label ? 1 : 0);
    text += label ? "yes\n" : "no\n";
  }
  made.table = data::read_csv_text(text, "t");
  std::vector<size_t> all(rows);
  std::iota(all.begin(), all.end(), size_t{0});
  made.pipeline.task = "classify";
  made.pipeline.classes = {"no", "yes"};
  made.pipeline.columns =
      features::ColumnEncoder::fit(made.table, data::infer_types(made.table, {}), "y", all);
  made.rows = made.pipeline.columns.encode(made.table, all);
  return made;
}

/// The fold of each row.
std::vector<uint32_t> in_turn(size_t rows, size_t folds) {
  std::vector<uint32_t> fold_of(rows);
  for (size_t row = 0; row < rows; ++row) fold_of[row] = static_cast<uint32_t>(row % folds);
  return fold_of;
}

TEST(LinearStart, ScoresOfTrainingRowsAreOutOfFold) {
  constexpr size_t kRows = 120;
  const Made made = make(kRows, false);
  const std::vector<uint32_t> folds = in_turn(kRows, 4);
  ThreadPool pool(2);
  const LinearStart start =
      fit_linear_start(made.pipeline, made.rows, made.targets, folds, 4, pool);
  // Labels are noise: what was learnt from a row itself would agree with it.
  const auto seen = start.score.scores(made.pipeline.columns, made.rows);
  EXPECT_GT(agreement(seen, made.targets, 0, kRows), 0.3);
  EXPECT_LT(agreement(start.scores, made.targets, 0, kRows), 0.2);
}

TEST(LinearStart, ChangedRowsAreScoredByTheWeightsThatDidNotSeeThem) {
  constexpr size_t kRows = 120;
  const Made made = make(kRows, false);
  const std::vector<uint32_t> folds = in_turn(kRows, 5);
  ThreadPool pool(2);
  const LinearStart start =
      fit_linear_start(made.pipeline, made.rows, made.targets, folds, 4, pool, true);
  EXPECT_EQ(start.scores,
            fit_linear_start(made.pipeline, made.rows, made.targets, folds, 4, pool).scores);
  const auto whole = start.score.scores(made.pipeline.columns, made.rows);
  double apart = 0;
  for (size_t row = 0; row < kRows; ++row) {
    const auto scores =
        start.scores_like(row, made.pipeline.columns, made.rows.select(std::array<size_t, 1>{row}));
    ASSERT_EQ(scores.size(), 2U);
    for (size_t i = 0; i < 2; ++i) {
      EXPECT_NEAR(scores[i], start.scores[2 * row + i], 1e-4) << row;
      apart = std::max(apart, std::abs(static_cast<double>(scores[i] - whole[2 * row + i])));
    }
  }
  EXPECT_GT(apart, 0.01) << "not the weights of all rows";
}

TEST(LinearStart, RowsOutsideAllFoldsAreScoredByTheWholeModel) {
  constexpr size_t kRows = 200;
  const Made made = make(kRows, true);
  std::vector<uint32_t> folds(kRows, 4);
  for (size_t row = 0; row < 150; ++row) folds[row] = static_cast<uint32_t>(row % 4);
  ThreadPool one(1);
  ThreadPool two(2);
  const LinearStart start = fit_linear_start(made.pipeline, made.rows, made.targets, folds, 4, one);
  const auto whole = start.score.scores(made.pipeline.columns, made.rows);
  for (size_t i = 2 * 150; i < 2 * kRows; ++i)
    EXPECT_NEAR(start.scores[i], whole[i], 1e-3F * (1 + std::abs(whole[i])));
  EXPECT_GT(agreement(start.scores, made.targets, 150, kRows), 0.7);
  EXPECT_EQ(fit_linear_start(made.pipeline, made.rows, made.targets, folds, 4, two).scores,
            start.scores);
}

}  // namespace
}  // namespace quern::task
