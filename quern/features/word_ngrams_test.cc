#include "quern/features/word_ngrams.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace quern::features {
namespace {

TEST(WordNgrams, CountWordsAndTheirPairs) {
  EXPECT_EQ(word_ngrams("The cat, the CAT!", 1, 1 << 20, 100).size(), 6U);
  const auto rows = word_ngrams("The cat the CAT", 2, 1 << 20, 100);
  ASSERT_EQ(rows.size(), 7U);  // the · cat, the cat · the, cat the · cat, the cat
  EXPECT_EQ(rows[0], rows[3]);
  EXPECT_EQ(rows[1], rows[5]);
  EXPECT_EQ(rows[2], rows[6]);
  EXPECT_NE(rows[2], rows[4]);
  EXPECT_EQ(word_ngrams("明月几时有", 2, 1 << 20, 100).size(), 9U);
  EXPECT_EQ(word_ngrams("明月几时有", 2, 1 << 20, 4).size(), 4U);
  EXPECT_TRUE(word_ngrams("", 2, 10, 4).empty());
  const auto small = word_ngrams("a b c d e f g", 2, 3, 100);
  EXPECT_TRUE(std::all_of(small.begin(), small.end(), [](int32_t r) { return r >= 0 && r < 3; }));
}

TEST(LetterNgrams, StayWithinWords) {
  // <a> b: "<a", "a>", "<b", "b>" of two letters; "<a>", "<b>" of three.
  EXPECT_EQ(letter_ngrams("a b", 2, 3, 1 << 20, 100).size(), 6U);
  const auto same = letter_ngrams("Kühe, KÜHE kühe", 2, 2, 1 << 20, 100);
  ASSERT_EQ(same.size(), 15U);  // five of each word: ü is one letter
  EXPECT_EQ(same[4], same[14]);
  EXPECT_TRUE(letter_ngrams("明月，!", 2, 5, 1 << 20, 100).empty());
  EXPECT_EQ(letter_ngrams("abcdef", 2, 3, 1 << 20, 4).size(), 4U);
}

}  // namespace
}  // namespace quern::features
