#include "quern/features/words.h"

#include <gtest/gtest.h>

namespace quern::features {
namespace {

std::vector<std::string> texts_of(const std::vector<Word>& words) {
  std::vector<std::string> texts;
  for (const Word& word : words) texts.push_back(word.text);
  return texts;
}

std::vector<Word> words_of(std::string_view text) {
  const auto tokenizer = Tokenizer::byte_level();
  return group_words(*tokenizer, tokenizer->encode(text));
}

TEST(Words, BytesMakeWholeWordsWithTheSpaceBefore) {
  const auto words = words_of("The miller's grain, twice.");
  EXPECT_EQ(texts_of(words),
            (std::vector<std::string>{"The", " miller's", " grain", ",", " twice", "."}));
  EXPECT_EQ(words[1].token_begin, 3U);
  EXPECT_EQ(words[1].token_end, 12U);
  EXPECT_EQ(words[1].begin, 3U);
  EXPECT_EQ(words[1].end, 12U);
}

TEST(Words, ChineseCharactersStayWholeAndApart) {
  EXPECT_EQ(texts_of(words_of("春风 又绿")), (std::vector<std::string>{"春", "风", " 又", "绿"}));
}

TEST(Words, SpecialTokensStandApartAndTakeNoBytes) {
  const auto tokenizer = Tokenizer::byte_level();
  std::vector<uint32_t> ids = tokenizer->encode("ab");
  ids.insert(ids.begin() + 1, *tokenizer->end_of_text());
  const auto words = group_words(*tokenizer, ids);
  ASSERT_EQ(words.size(), 3U);
  EXPECT_TRUE(words[1].special);
  EXPECT_EQ(words[1].begin, words[1].end);
  EXPECT_EQ(words[2].begin, 1U);
  EXPECT_EQ(words[2].token_begin, 2U);
}

TEST(Words, NoTokensNoWords) { EXPECT_TRUE(words_of("").empty()); }

}  // namespace
}  // namespace quern::features
