#include "quern/features/ngram_ids.h"

#include <gtest/gtest.h>

#include <array>
#include <set>
#include <vector>

namespace quern::features {
namespace {

std::array<int32_t, 3> at(const std::vector<uint32_t>& tokens, size_t position,
                          int64_t buckets = 1 << 20) {
  std::array<int32_t, 3> out{};
  ngram_ids(tokens, position, buckets, out);
  return out;
}

TEST(NgramIds, DependOnTheLastTokensOnly) {
  const std::vector<uint32_t> a = {1, 2, 3, 4, 5}, b = {9, 8, 3, 4, 5};
  EXPECT_EQ(at(a, 4)[0], at(b, 4)[0]);  // 4 5
  EXPECT_EQ(at(a, 4)[1], at(b, 4)[1]);  // 3 4 5
  EXPECT_NE(at(a, 4)[2], at(b, 4)[2]);  // 2 3 4 5 against 8 3 4 5
}

TEST(NgramIds, NothingBeforeTheWindow) {
  EXPECT_EQ(at({7}, 0), (std::array<int32_t, 3>{-1, -1, -1}));
  const auto second = at({7, 8}, 1);
  EXPECT_GE(second[0], 0);
  EXPECT_EQ(second[1], -1);
}

TEST(NgramIds, SpreadEvenly) {
  std::set<int32_t> seen;
  for (uint32_t a = 0; a < 64; ++a) {
    for (uint32_t b = 0; b < 64; ++b) seen.insert(at({a, b}, 1, 4096)[0]);
  }
  // 4096 balls in as many bins leave 1/e of them empty.
  EXPECT_NEAR(static_cast<double>(seen.size()), 4096 * 0.632, 100);
}

}  // namespace
}  // namespace quern::features
