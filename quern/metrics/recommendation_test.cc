#include "quern/metrics/recommendation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "quern/metrics/ease.h"

namespace quern::metrics {
namespace {

TEST(Ranks, TiesShareTheMeanPlaceAndTheLeftOutHaveNone) {
  constexpr float kOut = -std::numeric_limits<float>::infinity();
  const std::array<float, 6> scores = {9, 1, 3, 1, 1, kOut};
  EXPECT_EQ(rank_of(scores, 2), 1U);
  EXPECT_EQ(rank_of(scores, 1), 3U);  // places 2, 3, 4
  EXPECT_EQ(rank_of(scores, 5), 0U);
  EXPECT_EQ(rank_of(scores, 0), 0U);
  const std::array<float, 3> none = {0, std::numeric_limits<float>::quiet_NaN(), 1};
  EXPECT_EQ(rank_of(none, 1), 0U);
  EXPECT_EQ(top_items(scores, 3), (std::vector<uint32_t>{2, 1, 3}));
}

TEST(Ranks, ListsHoldTheBestAndNoRoomForTheRest) {
  std::vector<float> scores(5000);
  for (size_t i = 0; i < scores.size(); ++i) scores[i] = static_cast<float>(i * 7919 % 5003 / 10);
  scores[17] = std::numeric_limits<float>::quiet_NaN();
  std::vector<uint32_t> sorted(scores.size() - 1);
  std::iota(sorted.begin(), sorted.end(), 1U);
  std::erase(sorted, 17U);
  std::stable_sort(sorted.begin(), sorted.end(),
                   [&](uint32_t a, uint32_t b) { return scores[a] > scores[b]; });
  for (const size_t k : {size_t{0}, size_t{1}, size_t{10}, size_t{700}, size_t{9000}}) {
    const std::vector<uint32_t> best = top_items(scores, k);
    ASSERT_EQ(best.size(), std::min(k, sorted.size()));
    EXPECT_TRUE(std::equal(best.begin(), best.end(), sorted.begin())) << k;
    EXPECT_LE(best.capacity(), std::min(k, scores.size())) << "a list of each user is kept";
  }
}

TEST(Ranks, ScoresOfKnownRanks) {
  const std::array<uint32_t, 4> ranks = {1, 3, 11, 0};
  const auto scores = score_ranks(ranks, 10, 1);
  EXPECT_EQ(scores[0].name, "ndcg@10");
  EXPECT_NEAR(scores[0].interval.value, (1 + 0.5) / 4, 1e-12);  // 1 / log2(4)
  EXPECT_NEAR(scores[1].interval.value, 0.5, 1e-12);
  EXPECT_NEAR(scores[2].interval.value, (1 + 1.0 / 3 + 1.0 / 11) / 4, 1e-12);
}

TEST(OwnItems, CountThenRecencyThenPopularity) {
  const std::vector<uint64_t> taken = {50, 9, 1, 2, 70};
  std::vector<float> scores(6);
  score_own_items(std::array<uint32_t, 5>{2, 3, 2, 4, 3}, taken, scores);
  EXPECT_EQ(top_items(scores, 5), (std::vector<uint32_t>{3, 2, 4, 5, 1}));
  score_own_items({}, taken, scores);
  EXPECT_EQ(top_items(scores, 5), (std::vector<uint32_t>{5, 1, 2, 4, 3}));
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

TEST(ItemNeighbours, MostBytesCountEveryPairThatIsKept) {
  // Ten users who each took the same hundred items: each item has 99 others, told of by all ten.
  std::vector<uint32_t> history(100);
  std::iota(history.begin(), history.end(), 1U);
  const std::vector<std::span<const uint32_t>> histories(10, history);
  const size_t few = ItemNeighbours::most_bytes(histories, 100, 1);
  EXPECT_EQ(ItemNeighbours::most_bytes(histories, 100, 51) - few, 100U * 50 * 8);
  // What no user took costs its place in the lists alone.
  const size_t more = ItemNeighbours::most_bytes(histories, 1100, 1) - few;
  EXPECT_GE(more, 1000 * 2 * sizeof(std::vector<uint32_t>));
  EXPECT_LE(more, 1000U * 100);
}

TEST(Coverage, IsTheShareOfItemsListed) {
  const Score score = coverage({{1, 2}, {2, 3}, {2, 1}}, 6, 2, 1);
  EXPECT_EQ(score.name, "coverage@2");
  EXPECT_NEAR(score.interval.value, 0.5, 1e-12);
  EXPECT_LE(score.interval.low, score.interval.value);
  EXPECT_GE(score.interval.high, score.interval.value);
}

TEST(Ease, InvertsByHalves) {
  ThreadPool pool(1);
  constexpr int64_t kSize = 150;  // two levels and odd halves
  std::vector<float> matrix(kSize * kSize);
  const auto at = [](int64_t i, int64_t j) { return static_cast<size_t>(i * kSize + j); };
  for (int64_t i = 0; i < kSize; ++i)
    for (int64_t j = 0; j < kSize; ++j)
      matrix[at(i, j)] = (i == j ? 3.0F : 0.0F) + 1 / (1 + std::fabs(static_cast<float>(i - j)));
  std::vector<float> inverse = matrix;
  invert_positive_definite(kernels::cpu::Context(pool), inverse, kSize);
  for (int64_t i = 0; i < kSize; ++i) {
    for (int64_t j = 0; j < kSize; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < kSize; ++k)
        sum += static_cast<double>(matrix[at(i, k)]) * static_cast<double>(inverse[at(k, j)]);
      ASSERT_NEAR(sum, i == j ? 1 : 0, 1e-5) << i << ' ' << j;
    }
  }
}

// (penalty·I + c·11ᵀ)⁻¹ = I / penalty − c / (penalty·(penalty + c·n))·11ᵀ (Sherman & Morrison
// 1950): items that are all taken together, of condition 24,000. Block inversion through
// inverses errs by .006 / penalty here, through factors by .0001 / penalty.
TEST(Ease, InvertsWhatIsNearlySingular) {
  ThreadPool pool(1);
  constexpr int64_t kSize = 601;
  constexpr float kTogether = 200, kPenalty = 5;
  std::vector<float> matrix(kSize * kSize, kTogether);
  for (size_t i = 0; i < kSize; ++i) matrix[i * kSize + i] += kPenalty;
  invert_positive_definite(kernels::cpu::Context(pool), matrix, kSize);
  const float off = -kTogether / (kPenalty * (kPenalty + kTogether * kSize));
  for (size_t i = 0; i < kSize; ++i)
    for (size_t j = 0; j < kSize; ++j)
      ASSERT_NEAR(matrix[i * kSize + j], off + (i == j ? 1 / kPenalty : 0), 1e-3 / kPenalty)
          << i << ' ' << j;
}

// Two items: P = inverse of [[3 + p, 2], [2, 2 + p]], so B12 = 2 / (3 + p) and B21 = 2 / (2 + p).
TEST(Ease, AgreesWithTheClosedFormOfTwoItems) {
  const std::vector<uint32_t> a = {1, 2}, b = {2, 1, 1}, c = {1}, d = {};
  const std::vector<std::span<const uint32_t>> histories = {a, b, c, d};
  ThreadPool pool(1);
  Ease ease(histories, 3, pool);
  ease.fit(0.5F);
  std::vector<float> scores(4);
  ease.score(std::array<uint32_t, 1>{1}, scores);
  EXPECT_NEAR(scores[2], 2 / 3.5, 1e-6);
  EXPECT_EQ(scores[1], 0);
  ease.score(std::array<uint32_t, 1>{2}, scores);
  EXPECT_NEAR(scores[1], 2 / 2.5, 1e-6);
  EXPECT_EQ(scores[3], 0);
  Ease bounded(histories, 3, pool, 1);
  bounded.fit(1);
  EXPECT_EQ(bounded.items(), 1U);
  bounded.score(std::array<uint32_t, 1>{2}, scores);
  EXPECT_EQ(scores[1], 0);
}

}  // namespace
}  // namespace quern::metrics
