#include "quern/features/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <numeric>
#include <thread>

#include "quern/base/error.h"
#include "quern/features/tokenizer_testing.h"
#include "quern/features/tokenizer_training.h"

namespace quern::features {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::shared_ptr<const Tokenizer> train(TokenizerTrainOptions options, std::string_view text) {
  TokenizerTrainer trainer(options);
  trainer.feed(text);
  return trainer.finish();
}

std::string corpus(uint64_t seed = 1) {
  Random random(seed, Stream::kTest, 9);
  return awkward_text(random, 20000, false);
}

std::vector<std::shared_ptr<const Tokenizer>> byte_safe_tokenizers() {
  std::vector<std::shared_ptr<const Tokenizer>> all = {Tokenizer::byte_level()};
  for (const auto pattern : {SplitPattern::kGpt2, SplitPattern::kLlama3, SplitPattern::kHan}) {
    all.push_back(train({.vocabulary = 1500, .pattern = pattern}, corpus()));
  }
  all.push_back(train({.kind = TokenizerKind::kChar}, corpus()));
  return all;
}

TEST(TokenizerTest, AnyByteSequenceRoundTrips) {
  for (const auto& tokenizer : byte_safe_tokenizers()) {
    Random random(2, Stream::kTest, 10);
    for (int round = 0; round < 300; ++round) {
      std::string text = awkward_text(random, 1 + random.below(60), true);
      if (round % 3 == 0) {
        for (char& c : text) c = static_cast<char>(random.below(256));
      }
      const std::vector<uint32_t> ids = tokenizer->encode(text);
      ASSERT_EQ(tokenizer->decode(ids), text) << tokenizer->kind();
      for (const uint32_t id : ids) ASSERT_LT(id, tokenizer->vocabulary());
    }
  }
}

TEST(TokenizerTest, SavedAndLoadedEncodesAlike) {
  for (const auto& tokenizer : byte_safe_tokenizers()) {
    const auto again = Tokenizer::from_json(tokenizer->to_json());
    EXPECT_TRUE(again->to_json() == tokenizer->to_json());
    EXPECT_EQ(again->fingerprint(), tokenizer->fingerprint());
    EXPECT_EQ(again->kind(), tokenizer->kind());
    EXPECT_EQ(again->vocabulary(), tokenizer->vocabulary());
    EXPECT_EQ(again->end_of_text(), tokenizer->end_of_text());
    EXPECT_TRUE(again->encode(corpus(3)) == tokenizer->encode(corpus(3)));
  }
}

TEST(TokenizerTest, ACachedPieceIsTheSameAsAFreshOne) {
  const auto tokenizer = train({.vocabulary = 1000}, corpus());
  const std::string text = corpus(4);
  const auto cold = tokenizer->encode(text);
  EXPECT_TRUE(tokenizer->encode(text) == cold);
  EXPECT_TRUE(Tokenizer::from_json(tokenizer->to_json())->encode(text) == cold);
}

TEST(TokenizerTest, EndOfTextIsPlainTextUnlessAllowed) {
  for (const auto& tokenizer : byte_safe_tokenizers()) {
    const uint32_t end = tokenizer->end_of_text().value();
    EXPECT_TRUE(tokenizer->is_special(end));
    EXPECT_EQ(tokenizer->token_bytes(end), kEndOfText);
    const std::string text = "a<|endoftext|>b";
    const auto plain = tokenizer->encode(text);
    EXPECT_THAT(plain, testing::Not(testing::Contains(end)));
    EXPECT_EQ(tokenizer->decode(plain), text);
    const auto special = tokenizer->encode(text, true);
    ASSERT_EQ(special.size(), 3U);
    EXPECT_EQ(special[1], end);
    EXPECT_EQ(tokenizer->decode(special), text);
    EXPECT_EQ(tokenizer->decode(special, true), "ab");
  }
}

TEST(TokenizerTest, CharIsExactlyTheCharactersWhenAsked) {
  const auto tokenizer = train(
      {.kind = TokenizerKind::kChar, .char_fallback = CharFallback::kNone, .end_of_text = false},
      "to be, or not");
  EXPECT_EQ(tokenizer->vocabulary(), 8U);  // " ,benort"
  EXPECT_EQ(tokenizer->kind(), "char");
  EXPECT_THAT(tokenizer->encode("be not"), ElementsAre(2, 3, 0, 4, 5, 7));
  EXPECT_EQ(tokenizer->end_of_text(), std::nullopt);
  try {
    tokenizer->encode("be 月");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "unknown_character");
    EXPECT_THAT(error.what(), HasSubstr("月"));
  }
}

TEST(TokenizerTest, CharFallbacks) {
  const auto unknown =
      train({.kind = TokenizerKind::kChar, .char_fallback = CharFallback::kUnknown}, "ab");
  EXPECT_THAT(unknown->encode("aé月b"), ElementsAre(0, 2, 2, 1));
  const auto bytes = train({.kind = TokenizerKind::kChar}, "ab");
  EXPECT_EQ(bytes->vocabulary(), 2U + 256 + 1);
  EXPECT_THAT(bytes->encode("aéb"), ElementsAre(0, 2 + 0xC3, 2 + 0xA9, 1));
}

TEST(TokenizerTest, ByteIdsAreBytes) {
  const auto tokenizer = Tokenizer::byte_level();
  EXPECT_THAT(tokenizer->encode("A\n\xFF"), ElementsAre(65, 10, 255));
  EXPECT_EQ(tokenizer->vocabulary(), 257U);
  EXPECT_EQ(tokenizer->end_of_text(), 256U);
}

TEST(TokenizerTest, FingerprintFollowsWhatDecidesIds) {
  const auto a = train({.vocabulary = 400}, corpus());
  const auto b = train({.vocabulary = 401}, corpus());
  const auto c = train({.vocabulary = 400, .pattern = SplitPattern::kGpt2}, corpus());
  EXPECT_NE(a->fingerprint(), b->fingerprint());
  EXPECT_NE(a->fingerprint(), c->fingerprint());
}

TEST(TokenizerTest, ThreadsEncodeAlike) {
  const auto tokenizer = train({.vocabulary = 1000}, corpus());
  const std::string text = corpus(5);
  const auto expected = tokenizer->encode(text);
  std::vector<std::vector<uint32_t>> got(4);
  std::vector<std::thread> threads;
  for (auto& ids : got) threads.emplace_back([&] { ids = tokenizer->encode(text); });
  for (auto& thread : threads) thread.join();
  for (const auto& ids : got) EXPECT_TRUE(ids == expected);
}

/// Of this thread, so that a busy machine does not count.
double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// Eight times the text may take little more than eight times the time, whatever it is made of
/// (quadratic: 64).
TEST(TokenizerTest, TimeIsLinear) {
  const std::vector<std::shared_ptr<const Tokenizer>> all = {
      train({.vocabulary = 1500}, corpus()),
      train({.vocabulary = 1500, .pattern = SplitPattern::kGpt2}, corpus()),
      train({.vocabulary = 300}, std::string(4096, 'a') + std::string(4096, ' ') + "\n")};
  for (const auto& tokenizer : all) {
    for (const std::string unit : {"a", "月", " ", "\n", "'", "1", "\xE4", "é", "ab"}) {
      const auto seconds = [&](size_t bytes) {
        std::string text;
        while (text.size() < bytes) text += unit;
        std::vector<uint32_t> ids;
        double best = 1e9;
        for (int attempt = 0; attempt < 3; ++attempt) {
          ids.clear();
          const double start = cpu_seconds();
          tokenizer->encode(text, ids);
          best = std::min(best, cpu_seconds() - start);
        }
        EXPECT_TRUE(tokenizer->decode(ids) == text);
        return best;
      };
      const double small = seconds(1 << 15), large = seconds(1 << 18);
      EXPECT_LT(large, 32 * small + 0.01) << tokenizer->kind() << " \"" << unit << '"';
    }
  }
}

TEST(StreamingDecoderTest, NeverSplitsACharacter) {
  for (const auto& tokenizer : byte_safe_tokenizers()) {
    Random random(6, Stream::kTest, 11);
    for (int round = 0; round < 100; ++round) {
      const std::string text = awkward_text(random, 30, false);
      StreamingDecoder decoder(*tokenizer);
      std::string joined;
      for (const uint32_t id : tokenizer->encode(text)) {
        const std::string part = decoder.push(id);
        ASSERT_EQ(find_invalid_utf8(part), std::nullopt);
        joined += part;
      }
      ASSERT_EQ(decoder.finish(), "");
      ASSERT_EQ(joined, text);
    }
  }
}

TEST(StreamingDecoderTest, GivesACharacterAsSoonAsItIsWhole) {
  const auto tokenizer = Tokenizer::byte_level();
  StreamingDecoder decoder(*tokenizer);
  EXPECT_EQ(decoder.push('a'), "a");
  EXPECT_EQ(decoder.push(0xE6), "");
  EXPECT_EQ(decoder.push(0x9C), "");
  EXPECT_EQ(decoder.push(0x88), "月");
  EXPECT_EQ(decoder.push(0xFF), "\uFFFD");
  EXPECT_EQ(decoder.push(0xE6), "");
  EXPECT_EQ(decoder.push('b'), "\uFFFDb");
  EXPECT_EQ(decoder.push(0xF0), "");
  EXPECT_EQ(decoder.finish(), "\uFFFD");
  EXPECT_EQ(decoder.finish(), "");
  StreamingDecoder skipping(*tokenizer, true);
  EXPECT_EQ(skipping.push(256), "");
}

TEST(TrainerTest, FeedingInPartsIsFeedingTheDocuments) {
  TokenizerTrainer one({.vocabulary = 500}), two({.vocabulary = 500});
  const std::string a = corpus(7), b = corpus(8);
  one.feed(a);
  one.feed(b);
  two.feed(b);
  two.feed(a);
  EXPECT_EQ(one.finish()->fingerprint(), two.finish()->fingerprint());
  EXPECT_EQ(one.bytes(), a.size() + b.size());
}

TEST(TrainerTest, VocabularyIsWhatWasAsked) {
  EXPECT_EQ(train({.vocabulary = 777}, corpus())->vocabulary(), 777U);
  EXPECT_EQ(train({.vocabulary = 777, .end_of_text = false}, corpus())->vocabulary(), 777U);
  EXPECT_EQ(train({.vocabulary = 5000}, "ab ab")->vocabulary(),
            256U + 1 + 1);  // ab; " ab" is there once
}

TEST(TrainerTest, RefusesWhatCannotBeMeant) {
  EXPECT_THROW(TokenizerTrainer({.vocabulary = 256}), UsageError);
  EXPECT_THROW(TokenizerTrainer({}).finish(), Error);
  EXPECT_THROW(parse_tokenizer_kind("wordpiece"), UsageError);
  EXPECT_THROW(parse_split_pattern("gpt4"), UsageError);
}

TEST(TrainerTest, LongPiecesAreLearnedFromInParts) {
  // Without the limit every merge would walk the whole megabyte.
  const auto tokenizer = train({.vocabulary = 2000, .pattern = SplitPattern::kLlama3}, [] {
    Random random(1, Stream::kTest, 12);
    std::string text;
    while (text.size() < 1 << 20) text += static_cast<char>('a' + random.below(26));
    return text;
  }());
  EXPECT_EQ(tokenizer->vocabulary(), 2000U);
}

}  // namespace
}  // namespace quern::features
