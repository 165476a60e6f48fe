#include "quern/train/repetition.h"

#include <gtest/gtest.h>

namespace quern::train {
namespace {

TEST(Repetition, CountsPairsAndTheLongestRun) {
  // the cat | cat sat | sat the | the cat | cat ran: four of five differ; "the cat" stands twice.
  const Repetition r = repetition_of("the cat sat\nthe cat ran");
  EXPECT_DOUBLE_EQ(r.different_pairs, 4.0 / 5);
  EXPECT_EQ(r.longest_repeat, 2);
}

TEST(Repetition, ChineseCharactersAreWords) {
  const Repetition r = repetition_of("春风春风春风");
  EXPECT_DOUBLE_EQ(r.different_pairs, 2.0 / 5);
  EXPECT_EQ(r.longest_repeat, 4);
}

TEST(Repetition, NothingRepeatsInNothing) {
  EXPECT_EQ(repetition_of("").different_pairs, 0);
  EXPECT_EQ(repetition_of("word").longest_repeat, 0);
  EXPECT_DOUBLE_EQ(repetition_of("all of these differ").different_pairs, 1);
}

}  // namespace
}  // namespace quern::train
