#include "quern/data/text_overlap.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace quern::data {
namespace {

TEST(TextOverlap, NormalisesDress) {
  EXPECT_EQ(normalised("  Win £100, NOW!! "), "win £000 now");
  EXPECT_EQ(normalised("..."), "");
}

TEST(TextOverlap, ShinglesOfEnglishAndChinese) {
  EXPECT_EQ(shingles("one two three four five six").size(), 2U);
  EXPECT_EQ(shingles("one two").size(), 1U);
  EXPECT_EQ(shingles("床前明月光疑").size(), 2U);
  EXPECT_TRUE(shingles("!?").empty());
  EXPECT_EQ(shingles("One, two. Three four FIVE"), shingles("one two three four five"));
}

TEST(TextOverlap, JaccardOfKnownSets) {
  EXPECT_DOUBLE_EQ(jaccard({1, 2, 3}, {2, 3, 4}), 0.5);
  EXPECT_DOUBLE_EQ(jaccard({}, {}), 0);
}

TEST(TextOverlap, FindsTheTextThatNearlyRepeats) {
  std::string words;
  for (int i = 0; i < 60; ++i)
    words += fmt::format("word{} ", static_cast<char>('a' + i % 26) + std::string(1, 'x') +
                                        std::string(static_cast<size_t>(i / 26) + 1, 'q'));
  std::vector<std::vector<uint64_t>> texts;
  for (int i = 0; i < 40; ++i) {
    std::string other;
    for (int k = 0; k < 30; ++k)
      other += std::string(static_cast<size_t>(1 + (i * 31 + k * 7) % 23),
                           static_cast<char>('a' + (i + k * k) % 26)) +
               " ";
    texts.push_back(shingles(other));
  }
  texts.push_back(shingles(words));
  texts.push_back(shingles(words + "and a little more"));
  const std::vector<NearRepeat> found = near_repeats(texts);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].text, 41U);
  EXPECT_EQ(found[0].other, 40U);
  EXPECT_GT(found[0].similarity, 0.9);
}

TEST(TextOverlap, DressAloneMakesANearRepeat) {
  const std::vector<std::vector<uint64_t>> texts = {shingles("Win £100 now, call us today!"),
                                                    shingles("win £500 now call us TODAY")};
  ASSERT_EQ(near_repeats(texts).size(), 1U);
  EXPECT_DOUBLE_EQ(near_repeats(texts)[0].similarity, 1);
}

// A nearer one in its own list hides no near repeat of the other list.
TEST(TextOverlap, FindsNearRepeatsOfAnotherList) {
  const std::string words = "a b c d e f g h i j k l m n o p q r s t u v w x y z and so on it goes";
  const std::vector<std::vector<uint64_t>> first = {shingles("nothing of the kind at all here"),
                                                    shingles(words)};
  const std::vector<std::vector<uint64_t>> second = {
      shingles(words + " and"), shingles(words + " and on"), shingles(words + " and on it")};
  const NearAcross found = near_across(first, second);
  ASSERT_EQ(found.first.size(), 1U);
  EXPECT_EQ(found.first[0].text, 1U);
  EXPECT_EQ(found.first[0].other, 0U);
  ASSERT_EQ(found.second.size(), 3U);
  for (const NearRepeat& one : found.second) EXPECT_EQ(one.other, 1U);
}

}  // namespace
}  // namespace quern::data
