#include "quern/features/word_boundary.h"

#include <gtest/gtest.h>

namespace quern::features {
namespace {

TEST(WordBoundary, AWordIsCompleteOnceSomethingElseFollows) {
  EXPECT_EQ(split_first_word(" mat").word, "mat");
  EXPECT_FALSE(split_first_word(" mat").complete);
  EXPECT_TRUE(split_first_word(" mat ").complete);
  EXPECT_TRUE(split_first_word("mat.").complete);
  EXPECT_EQ(split_first_word("mat. And").word, "mat");
}

TEST(WordBoundary, ApostrophesBelongInsideOnly) {
  EXPECT_EQ(split_first_word("don't ").word, "don't");
  EXPECT_FALSE(split_first_word("dogs'").complete);
  EXPECT_TRUE(split_first_word("dogs' ").complete);
  EXPECT_EQ(split_first_word("dogs' ").word, "dogs");
}

TEST(WordBoundary, AHanCharacterIsAWord) {
  const WordSplit split = split_first_word("床前");
  EXPECT_EQ(split.word, "床");
  EXPECT_TRUE(split.complete);
}

TEST(WordBoundary, AccentedAndCyrillicLettersAreLetters) {
  EXPECT_EQ(split_first_word(" naïve!").word, "naïve");
  EXPECT_EQ(split_first_word("слово,").word, "слово");
}

TEST(WordBoundary, PunctuationIsNoWord) {
  const WordSplit split = split_first_word("!mat");
  EXPECT_TRUE(split.word.empty());
  EXPECT_FALSE(split.only_space);
}

TEST(WordBoundary, NothingIsSaidOfAnUnfinishedCharacter) {
  const WordSplit split = split_first_word("\xe5\xba");
  EXPECT_TRUE(split.word.empty());
  EXPECT_TRUE(split.only_space);
  EXPECT_FALSE(split_first_word("a\xc3").complete);
}

TEST(WordBoundary, LettersGoOnWithAWordAndSpacesDoNot) {
  EXPECT_TRUE(continues_word("on the", "re"));
  EXPECT_TRUE(continues_word("caf\xc3\xa9", "s"));
  EXPECT_TRUE(continues_word("dog", "'s"));
  EXPECT_FALSE(continues_word("on the", " mat"));
  EXPECT_FALSE(continues_word("on the ", "mat"));
  EXPECT_FALSE(continues_word("床前", "明"));
  EXPECT_FALSE(continues_word("", "mat"));
}

}  // namespace
}  // namespace quern::features
