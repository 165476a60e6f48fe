#include "quern/explain/attention_rollout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quern/explain/fold_answers.h"
#include "quern/explain/row_run_testing.h"

namespace quern::explain {
namespace {

using ::testing::DoubleNear;
using ::testing::Pointwise;

TEST(AttentionRollout, TwoLayersByHand) {
  AttentionRollout rollout(2);
  // Layer 0: two heads, whose mean is (½ ½; 0 1). Layer 1: one head, (0 1; 1 0).
  rollout.add(0, std::vector<float>{1, 0, 0, 1});
  rollout.add(0, std::vector<float>{0, 1, 0, 1});
  rollout.add(1, std::vector<float>{0, 1, 1, 0});
  // Half stays: (¾ ¼; 0 1), then (½ ½; ½ ½): the product has rows (⅜ ⅝).
  EXPECT_THAT(rollout.flow(std::vector<size_t>{0}), Pointwise(DoubleNear(1e-12), {.375, .625}));
  EXPECT_THAT(rollout.flow(std::vector<size_t>{0, 1}), Pointwise(DoubleNear(1e-12), {.375, .625}));
}

TEST(AttentionRollout, WithoutLayersWhatIsReadIsAll) {
  const AttentionRollout rollout(3);
  EXPECT_EQ(rollout.flow(std::vector<size_t>{1, 2}), (std::vector<double>{0, .5, .5}));
}

TEST(AttentionRollout, OfSeveralFoldsIsTheMeanOverTheirModels) {
  Small both(true, 2), alone(true);
  ThreadPool pool(1);
  const ExplainedRow row = take_row(both.run, both.training.table, 0, {});
  std::vector<double> mean(row.parts.size(), 0.0);
  std::vector<std::vector<double>> flows;
  for (int64_t copy = 0; copy < 2; ++copy) {
    const graph::ParameterStore weights = copy_of(both.run, copy);
    std::ranges::copy(weights.values(), alone.run.parameters.values().begin());
    flows.push_back(row_attention(alone.run, pool, row));
    for (size_t i = 0; i < mean.size(); ++i) mean[i] += flows.back()[i] / 2;
  }
  EXPECT_GT(std::abs(flows[0][0] - flows[1][0]), 1e-4);
  EXPECT_THAT(row_attention(both.run, pool, row), Pointwise(DoubleNear(1e-12), mean));
}

}  // namespace
}  // namespace quern::explain
