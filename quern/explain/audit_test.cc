#include "quern/explain/audit.h"

#include <gtest/gtest.h>

#include "quern/explain/estimate.h"

namespace quern::explain {
namespace {

TEST(Audit, SpearmanOfKnownRanks) {
  // scipy.stats.spearmanr([1, 2, 3, 4], [1, 3, 2, 4]) is 0.8.
  EXPECT_DOUBLE_EQ(
      rank_correlation(std::vector<double>{1, 2, 3, 4}, std::vector<double>{1, 3, 2, 4}), 0.8);
  EXPECT_DOUBLE_EQ(rank_correlation(std::vector<double>{1, 2, 3}, std::vector<double>{9, 5, 1}),
                   -1);
  EXPECT_EQ(rank_correlation(std::vector<double>{1, 1, 1}, std::vector<double>{1, 2, 3}), 0);
  // Ties share their mean rank: scipy gives 0.9486832980505139.
  EXPECT_NEAR(rank_correlation(std::vector<double>{1, 2, 2, 3}, std::vector<double>{1, 2, 3, 4}),
              0.9486832980505139, 1e-12);
}

TEST(Audit, OrderOfASumBeatsChanceAndRandomWeightsDiffer) {
  FunctionGame game(6, [](std::span<const uint8_t> shown) {
    double sum = 0;
    for (size_t i = 0; i < shown.size(); ++i) sum += shown[i] * static_cast<double>(i * i);
    return sum;
  });
  const Attribution own = estimate(game, {});
  Attribution other = own;
  std::swap(other.phi[0], other.phi[5]);
  const Audit result = audit(game, own, other);
  EXPECT_GT(result.faithfulness.advantage.low, 0);
  EXPECT_LT(result.randomised_correlation, 0.5);
  EXPECT_DOUBLE_EQ(audit(game, own, own).randomised_correlation, 1);
}

}  // namespace
}  // namespace quern::explain
