#include "quern/explain/attention_rollout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace quern::explain
