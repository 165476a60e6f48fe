#include "quern/features/tokenizer_scanner.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "quern/features/tokenizer_regex.h"
#include "quern/features/tokenizer_testing.h"

namespace quern::features {
namespace {

std::vector<std::string> scan(KnownPattern pattern, std::string_view text) {
  std::vector<std::string> pieces;
  with_scanner(pattern, [&](const auto& scanner) {
    const auto* p = reinterpret_cast<const uint8_t*>(text.data());
    const uint8_t* end = p + text.size();
    while (p < end) {
      const uint8_t* q = scanner.next(p, end);
      ASSERT_GT(q, p);
      ASSERT_LE(q, end);
      pieces.emplace_back(reinterpret_cast<const char*>(p), static_cast<size_t>(q - p));
      p = q;
    }
  });
  return pieces;
}

std::vector<std::string> match(const SplitRegex& regex, std::string_view text) {
  std::vector<std::string> pieces;
  size_t done = 0;
  regex.for_each(text, [&](size_t begin, size_t end) {
    EXPECT_EQ(begin, done) << "the pattern leaves a gap";
    pieces.emplace_back(text.substr(begin, end - begin));
    done = end;
  });
  EXPECT_EQ(done, text.size());
  return pieces;
}

/// PCRE2 10.42 has no class intersection: the same expression with a lookahead instead.
std::string for_pcre2(KnownPattern pattern) {
  std::string regex(regex_of(pattern));
  for (size_t at; (at = regex.find("&&[^")) != regex.npos;) {
    const size_t open = regex.rfind('[', at);
    const size_t close = regex.find(']', at);
    const std::string what = regex.substr(open + 1, at - open - 1);
    const std::string minus = regex.substr(at + 4, close - at - 4);
    regex.replace(open, close + 2 - open, "(?:(?![" + minus + "])" + what + ")");
  }
  return regex;
}

/// The library that makes our tables knows more characters than the regex engine: text keeps to
/// those that the engine knows.
std::string known_to(const SplitRegex& unassigned, const std::string& text) {
  std::string out;
  size_t done = 0;
  unassigned.for_each(text, [&](size_t begin, size_t end) {
    out += text.substr(done, begin - done);
    done = end;
  });
  return out + text.substr(done);
}

class ScannerTest : public testing::TestWithParam<KnownPattern> {};

TEST_P(ScannerTest, CutsWhatTheExpressionMatches) {
  const SplitRegex regex(for_pcre2(GetParam()), "test");
  const SplitRegex unassigned("\\p{Cn}", "test");
  Random random(1, Stream::kTest, static_cast<uint64_t>(GetParam()));
  for (int round = 0; round < 20000; ++round) {
    const std::string text =
        known_to(unassigned, awkward_text(random, 1 + random.below(12), false));
    ASSERT_EQ(scan(GetParam(), text), match(regex, text)) << text;
  }
}

TEST_P(ScannerTest, CutsEveryShortAsciiTextAsTheExpressionDoes) {
  const SplitRegex regex(for_pcre2(GetParam()), "test");
  constexpr std::string_view kAlphabet = "asL' \n\r\t1.";
  std::vector<std::string> texts = {""};
  for (int length = 1; length <= 5; ++length) {
    std::vector<std::string> longer;
    for (const std::string& text : texts) {
      for (const char c : kAlphabet) longer.push_back(text + c);
    }
    texts = std::move(longer);
    for (const std::string& text : texts) ASSERT_EQ(scan(GetParam(), text), match(regex, text));
  }
}

TEST_P(ScannerTest, KeepsEveryByteOfMalformedText) {
  Random random(2, Stream::kTest);
  for (int round = 0; round < 5000; ++round) {
    const std::string text = awkward_text(random, 20, true);
    std::string joined;
    for (const std::string& piece : scan(GetParam(), text)) joined += piece;
    ASSERT_EQ(joined, text);
  }
}

TEST_P(ScannerTest, IsRecognisedByItsExpression) {
  EXPECT_EQ(recognise_pattern(regex_of(GetParam())), GetParam());
}

INSTANTIATE_TEST_SUITE_P(Patterns, ScannerTest,
                         testing::Values(KnownPattern::kGpt2, KnownPattern::kLlama3,
                                         KnownPattern::kQwen2, KnownPattern::kHan));

TEST(ScannerTest, Cl100kSpellingMatchesLlama3) {
  constexpr std::string_view kCl100k =
      R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|)"
      R"(\s*[\r\n]|\s+(?!\S)|\s+)";
  ASSERT_EQ(recognise_pattern(kCl100k), KnownPattern::kLlama3);
  const SplitRegex regex(kCl100k, "test");
  const SplitRegex unassigned("\\p{Cn}", "test");
  Random random(3, Stream::kTest);
  for (int round = 0; round < 20000; ++round) {
    const std::string text =
        known_to(unassigned, awkward_text(random, 1 + random.below(12), false));
    ASSERT_EQ(scan(KnownPattern::kLlama3, text), match(regex, text)) << text;
  }
}

TEST(ScannerTest, ClassesAgreeWithTheRegexEngineOnEveryCharacterItKnows) {
  const SplitRegex letters("\\p{L}", "test"), numbers("\\p{N}", "test"), spaces("\\s", "test"),
      unassigned("\\p{Cn}", "test");
  const auto matches = [](const SplitRegex& regex, const std::string& text) {
    bool found = false;
    regex.for_each(text, [&](size_t, size_t) { found = true; });
    return found;
  };
  const UnicodeClasses& classes = UnicodeClasses::get();
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    append_utf8(text, c);
    if (matches(unassigned, text)) continue;
    ASSERT_EQ((classes[c] & kLetterClass) != 0, matches(letters, text)) << std::hex << uint32_t{c};
    ASSERT_EQ((classes[c] & kNumberClass) != 0, matches(numbers, text)) << std::hex << uint32_t{c};
    ASSERT_EQ((classes[c] & kSpaceClass) != 0, matches(spaces, text)) << std::hex << uint32_t{c};
  }
}

TEST(ScannerTest, ReadsUtf8AsTheBaseRoomDoes) {
  Random random(4, Stream::kTest);
  for (int round = 0; round < 200000; ++round) {
    std::string text;
    for (size_t i = 1 + random.below(5); i > 0; --i) {
      // Bytes near the borders of the table of well-formed sequences.
      constexpr uint8_t kBytes[] = {0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF,
                                    0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED,
                                    0xEE, 0xEF, 0xF0, 0xF1, 0xF4, 0xF5};
      text.push_back(static_cast<char>(kBytes[random.below(std::size(kBytes))]));
    }
    const auto* p = reinterpret_cast<const uint8_t*>(text.data());
    const Utf8Char ours = read_utf8(p, p + text.size());
    const CodePoint theirs = decode_utf8(text);
    ASSERT_EQ(ours.value, theirs.value);
    ASSERT_EQ(ours.length, theirs.length);
  }
}

TEST(ScannerTest, CutsLongHanRuns) {
  const std::string eight = "不知天上宫阙今夕";
  EXPECT_EQ(scan(KnownPattern::kHan, eight + "是何年，我"),
            (std::vector<std::string>{eight, "是何年", "，", "我"}));
}

}  // namespace
}  // namespace quern::features
