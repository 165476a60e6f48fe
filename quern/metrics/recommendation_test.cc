#include "quern/metrics/recommendation.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

namespace quern::metrics {
namespace {

TEST(Ranks, TiesShareTheMeanPlaceAndTheLeftOutHaveNone) {
  constexpr float kOut = -std::numeric_limits<float>::infinity();
  const std::array<float, 6> scores = {9, 1, 3, 1, 1, kOut};
  EXPECT_EQ(rank_of(scores, 2), 1U);
  EXPECT_EQ(rank_of(scores, 1), 3U);  // places 2, 3, 4
  EXPECT_EQ(rank_of(scores, 5), 0U);
  EXPECT_EQ(rank_of(scores, 0), 0U);
  EXPECT_EQ(top_items(scores, 3), (std::vector<uint32_t>{2, 1, 3}));
}

TEST(Ranks, ScoresOfKnownRanks) {
  const std::array<uint32_t, 4> ranks = {1, 3, 11, 0};
  const auto scores = score_ranks(ranks, 10, 1);
  EXPECT_EQ(scores[0].name, "ndcg@10");
  EXPECT_NEAR(scores[0].interval.value, (1 + 0.5) / 4, 1e-12);  // 1 / log2(4)
  EXPECT_NEAR(scores[1].interval.value, 0.5, 1e-12);
  EXPECT_NEAR(scores[2].interval.value, (1 + 1.0 / 3 + 1.0 / 11) / 4, 1e-12);
}

TEST(ItemNeighbours, CosineOfTheUsersInCommon) {
  const std::vector<uint32_t> a = {1, 2, 2}, b = {1, 2, 3}, c = {1};
  const std::vector<std::span<const uint32_t>> histories = {a, b, c};
  const ItemNeighbours near(histories, 3);
  std::vector<float> scores(4);
  near.score(std::array<uint32_t, 2>{1, 1}, scores);
  EXPECT_NEAR(scores[2], 2 / std::sqrt(3.0 * 2.0), 1e-6);
  EXPECT_NEAR(scores[3], 1 / std::sqrt(3.0 * 1.0), 1e-6);
  EXPECT_EQ(scores[1], 0);
}

}  // namespace
}  // namespace quern::metrics
