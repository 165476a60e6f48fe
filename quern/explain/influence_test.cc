#include "quern/explain/influence.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "quern/explain/fold_answers.h"
#include "quern/explain/row_run_testing.h"
#include "quern/infer/row_predictor.h"

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

}  // namespace
}  // namespace quern::explain
