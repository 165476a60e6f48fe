#include "quern/explain/influence.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "quern/data/test_support.h"
#include "quern/explain/fold_answers.h"
#include "quern/explain/row_run_testing.h"
#include "quern/infer/row_predictor.h"
#include "quern/run/options.h"
#include "quern/train/checkpoint.h"

namespace quern::explain {
namespace {

/// The gradient of a number of one row's answer by differences, over all parameters.
template <typename Number>
std::vector<double> by_differences(run::RowRun& run, infer::RowPredictor& predictor,
                                   const task::RowInputs& row, const Number& number) {
  std::vector<double> gradient;
  constexpr float kStep = 0.01F;
  for (size_t i = 0; i < run.parameters.parameters().size(); ++i) {
    for (float& value : run.parameters.value(static_cast<int32_t>(i)).f32_span()) {
      const float kept = value;
      value = kept + kStep;
      const double up = number(predictor.predict(row));
      value = kept - kStep;
      const double down = number(predictor.predict(row));
      value = kept;
      gradient.push_back((up - down) / (2 * static_cast<double>(kStep)));
    }
  }
  return gradient;
}

class InfluenceOf : public testing::TestWithParam<bool> {};

TEST_P(InfluenceOf, ProductsOfGradientsByDifferences) {
  const bool classify = GetParam();
  Small small(classify);
  ThreadPool pool(1);
  ExplainedRow row;
  const std::vector<size_t> first = {0};
  row.inputs = task::make_row_inputs(small.run.pipeline.columns.encode(small.training.table, first),
                                     small.run);
  RowTarget target;
  if (!classify) target.scale = RowTarget::Scale::kValue;
  target.output = classify ? 1 : 0;
  const InfluenceReport found =
      find_influence(small.run, pool, row, target, small.training, small.training.table.rows());
  EXPECT_EQ(found.rows, 12U);
  EXPECT_EQ(found.weights, 1U);
  ASSERT_EQ(found.raising.size() + found.lowering.size(), 12U);
  infer::RowPredictor predictor(small.run.config, small.run.parameters, pool);
  const std::vector<double> own =
      by_differences(small.run, predictor, row.inputs, [&](const std::vector<float>& answer) {
        const auto own_answer = static_cast<double>(answer[target.output]);
        return classify ? -std::log(own_answer) : -own_answer;
      });
  const auto check = [&](const InfluenceReport::Row& told) {
    size_t at = 0;
    while (small.training.table.where(at) != told.where) ++at;
    const std::vector<size_t> one = {at};
    const task::RowInputs inputs = task::make_row_inputs(
        small.run.pipeline.columns.encode(small.training.table, one), small.run);
    const task::RowTargets targets = small.training.targets(one);
    const std::vector<double> other =
        by_differences(small.run, predictor, inputs, [&](const std::vector<float>& answer) {
          if (classify)
            return -std::log(static_cast<double>(answer[static_cast<size_t>(targets.classes[0])]));
          return std::pow(static_cast<double>(answer[0]) - static_cast<double>(targets.values[0]),
                          2);
        });
    const double product = std::inner_product(own.begin(), own.end(), other.begin(), 0.0);
    EXPECT_NEAR(told.influence, product, 0.02 * std::max(0.05, std::abs(product))) << told.where;
  };
  check(found.raising.front());
  check(found.lowering.front());
  check(found.raising.back());
}

/// Influence by the place of a row.
std::map<std::string, double> influences(run::RowRun& run, const task::TableTask& training,
                                         RowTarget target) {
  ThreadPool pool(1);
  ExplainedRow row;
  const std::vector<size_t> first = {0};
  row.inputs = task::make_row_inputs(run.pipeline.columns.encode(training.table, first), run);
  const InfluenceReport found =
      find_influence(run, pool, row, target, training, training.table.rows());
  std::map<std::string, double> by_place;
  for (const auto* side : {&found.raising, &found.lowering})
    for (const InfluenceReport::Row& told : *side) by_place[told.where] = told.influence;
  return by_place;
}

TEST_P(InfluenceOf, OfSeveralFoldsIsThatOfTheModelsThatLearnedFromTheRow) {
  const bool classify = GetParam();
  Small both(classify, 2);
  const size_t rows = both.training.table.rows();
  RowTarget target;
  if (!classify) target.scale = RowTarget::Scale::kValue;
  target.output = classify ? 1 : 0;
  std::vector<std::map<std::string, double>> alone;
  for (int64_t copy = 0; copy < 2; ++copy) {
    Small one(classify);
    const graph::ParameterStore weights = copy_of(both.run, copy);
    std::ranges::copy(weights.values(), one.run.parameters.values().begin());
    alone.push_back(influences(one.run, one.training, target));
  }
  for (size_t i = 0; i < rows; ++i)
    both.training.split.folds.push_back(static_cast<uint32_t>(i % 2));
  auto found = influences(both.run, both.training, target);
  ASSERT_EQ(found.size(), rows);
  for (size_t i = 0; i < rows; ++i) {
    // Each model has half a say in both losses.
    const std::string where = both.training.table.where(i);
    const double one = alone[1 - i % 2][where] / 4;
    EXPECT_NEAR(found[where], one, 1e-5 + 1e-4 * std::abs(one)) << where;
  }
}

INSTANTIATE_TEST_SUITE_P(Tasks, InfluenceOf, testing::Values(true, false));

/// Checkpoints of a run whose rate falls in a line from 0.011 before the first of its steps to
/// 0.001 before the eleventh and last.
class InfluenceOverCheckpoints : public data::FolderTest {
 protected:
  /// A run's folder, empty but for how it was trained.
  fs::path folder_of(const std::string& name) const {
    run::Options options;
    for (const char* said :
         {"train.schedule=linear", "train.learning_rate=0.011", "train.min_learning_rate=0.001"})
      options.assign(said);
    return write(fs::path(name) / run::kOptionsFile, options.to_toml()).parent_path();
  }
  /// The small model with other weights.
  static Small moved(bool classify, uint64_t seed) {
    Small small(classify);
    Random random(seed, Stream::kTest);
    for (size_t i = 0; i < small.run.parameters.parameters().size(); ++i)
      for (float& value : small.run.parameters.value(static_cast<int32_t>(i)).f32_span())
        value += 0.3F * static_cast<float>(random.normal());
    return small;
  }
  static void save(const fs::path& run, const Small& small, int64_t step) {
    std::vector<train::NamedTensor> tensors;
    const auto infos = small.run.parameters.parameters();
    for (size_t i = 0; i < infos.size(); ++i) {
      tensors.push_back({"model." + infos[i].name, infos[i].shape,
                         small.run.parameters.value(static_cast<int32_t>(i)).f32_span()});
    }
    train::Progress progress;
    progress.step = step;
    progress.total_steps = 11;
    progress.best_step = 6;
    const fs::path folder = run / run::kCheckpointFolder;
    fs::create_directories(folder);
    train::save_checkpoint(folder, progress, tensors);
  }
  static RowTarget target_of(bool classify) {
    if (classify) return {RowTarget::Scale::kProbability, 1};
    return {RowTarget::Scale::kValue, 0};
  }
  static std::map<std::string, double> alone(Small& small, bool classify) {
    return influences(small.run, small.training, target_of(classify));
  }
};

// Rates of the steps that led to the weights: 0.006 for the best (the sixth), 0.009 for the third,
// 0.003 for the ninth.

TEST_F(InfluenceOverCheckpoints, IsTheMeanByTheLearningRate) {
  for (const bool classify : {true, false}) {
    Small small(classify), own(classify);
    Small early = moved(classify, 5), late = moved(classify, 6);
    small.run.folder = folder_of(classify ? "classes" : "values");
    save(small.run.folder, early, 3);
    save(small.run.folder, late, 9);
    auto found = influences(small.run, small.training, target_of(classify));
    EXPECT_TRUE(std::ranges::equal(small.run.parameters.values(), own.run.parameters.values()));
    auto by_own = alone(own, classify), by_early = alone(early, classify),
         by_late = alone(late, classify);
    ASSERT_EQ(found.size(), small.training.table.rows());
    for (const auto& [where, influence] : found) {
      const double expected = (6 * by_own[where] + 9 * by_early[where] + 3 * by_late[where]) / 18;
      EXPECT_NEAR(influence, expected, 1e-5 + 1e-4 * std::abs(expected)) << where;
    }
  }
}

TEST_F(InfluenceOverCheckpoints, EachFoldHasItsOwn) {
  for (const bool classify : {true, false}) {
    Small both(classify, 2);
    both.run.folder = folder_of(classify ? "classes" : "values");
    Small early = moved(classify, 5), late = moved(classify, 6), other = moved(classify, 7);
    save(both.run.folder, early, 3);
    save(both.run.folder, late, 9);
    save(both.run.folder / run::kFoldFolder / "1", other, 3);
    const size_t rows = both.training.table.rows();
    for (size_t i = 0; i < rows; ++i)
      both.training.split.folds.push_back(static_cast<uint32_t>(i % 2));
    std::vector<std::map<std::string, double>> own;
    for (int64_t copy = 0; copy < 2; ++copy) {
      Small one(classify);
      std::ranges::copy(copy_of(both.run, copy).values(), one.run.parameters.values().begin());
      own.push_back(alone(one, classify));
    }
    auto by_early = alone(early, classify), by_late = alone(late, classify),
         by_other = alone(other, classify);
    auto found = influences(both.run, both.training, target_of(classify));
    ASSERT_EQ(found.size(), rows);
    for (size_t i = 0; i < rows; ++i) {
      const std::string where = both.training.table.where(i);
      // The rows of the second fold are those that the first model learned from.
      const double mean = i % 2 == 1
                              ? (6 * own[0][where] + 9 * by_early[where] + 3 * by_late[where]) / 18
                              : (6 * own[1][where] + 9 * by_other[where]) / 15;
      EXPECT_NEAR(found[where], mean / 4, 1e-5 + 1e-4 * std::abs(mean)) << where;
    }
  }
}

}  // namespace
}  // namespace quern::explain
