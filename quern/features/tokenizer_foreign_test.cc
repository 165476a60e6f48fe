#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quern/base/error.h"
#include "quern/features/tokenizer.h"
#include "quern/features/tokenizer_pipeline.h"
#include "quern/formats/tokenizer_json.h"

// Expected ids come from the Hugging Face `tokenizers` package, version 0.23.3, on the same files
// (tests/tokenizer_conformance.py repeats the comparison where that package is installed).

namespace quern::features {
namespace {

using formats::PreTokenizer;
using formats::SplitBehavior;
using testing::ElementsAre;
using testing::HasSubstr;

/// Letters and the space (Ġ) as single tokens, ids in order of the list.
std::string file(const std::string& normalizer, const std::string& added) {
  return R"({"added_tokens":[)" + added + R"(],"normalizer":)" + normalizer +
         R"(,"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"use_regex":true},
          "model":{"type":"BPE","vocab":{"a":0,"b":1,"c":2,"Ġ":3,"ab":4,"Ġa":5,"Ã":6,"©":7,"e":8,
          "Ì":9,"ģ":10},"merges":["a b",["Ġ","a"]]}})";
}

std::string added(int id, const std::string& content, const std::string& flags) {
  return R"({"id":)" + std::to_string(id) + R"(,"content":")" + content + "\"" + flags + "}";
}

TEST(ForeignTokenizerTest, AddedTokensAreLeftmostLongest) {
  const auto t = Tokenizer::from_json(
      file("null", added(20, "bc", "") + "," + added(21, "bca", "") + "," + added(22, "cab", "")));
  EXPECT_THAT(t->encode("abcab"), ElementsAre(0, 21, 1));
  EXPECT_THAT(t->encode("abcb"), ElementsAre(0, 20, 1));
}

TEST(ForeignTokenizerTest, AddedTokensStripAndStandAlone) {
  const auto strip =
      Tokenizer::from_json(file("null", added(20, "cc", R"(,"lstrip":true,"rstrip":true)")));
  EXPECT_THAT(strip->encode("a  cc b"), ElementsAre(0, 20, 1));
  const auto word = Tokenizer::from_json(file("null", added(20, "cc", R"(,"single_word":true)")));
  EXPECT_THAT(word->encode("cc acc cc"), ElementsAre(20, 5, 2, 2, 3, 20));
}

TEST(ForeignTokenizerTest, NormalisesBeforeNormalisedAddedTokensOnly) {
  const std::string nfc = R"({"type":"NFC"})";
  // e + combining acute becomes é, whose bytes are spelled Ã ©.
  const auto plain = Tokenizer::from_json(file(nfc, ""));
  EXPECT_THAT(plain->encode("e\u0301"), ElementsAre(6, 7));
  const auto raw = Tokenizer::from_json(file(nfc, added(20, "é", R"(,"normalized":false)")));
  EXPECT_THAT(raw->encode("e\u0301é"), ElementsAre(6, 7, 20));
  const auto normalised = Tokenizer::from_json(file(nfc, added(20, "é", R"(,"normalized":true)")));
  EXPECT_THAT(normalised->encode("e\u0301"), ElementsAre(20));
}

TEST(ForeignTokenizerTest, AByteWithoutATokenIsAnErrorNotALoss) {
  const auto t = Tokenizer::from_json(file("null", ""));
  EXPECT_THROW(t->encode("abz"), Error);
}

TEST(ForeignTokenizerTest, RefusesOtherModelsByName) {
  const auto refused = [](const std::string& json, const std::string& what) {
    try {
      Tokenizer::from_json(json, "x/tokenizer.json");
      FAIL() << json;
    } catch (const FormatError& error) {
      EXPECT_THAT(error.what(), HasSubstr("x/tokenizer.json"));
      EXPECT_THAT(error.what(), HasSubstr(what));
    }
  };
  refused(R"({"model":{"type":"WordPiece","vocab":{"a":0}}})", "WordPiece");
  refused(R"({"model":{"type":"Unigram","vocab":[["a",0.0]]}})", "Unigram");
  refused(file(R"({"type":"Lowercase"})", ""), "Lowercase");
  refused(R"({"model":{"type":"BPE","vocab":{"a":0},"merges":["a q"]}})", "\"q\"");
  refused(R"({"model":{"type":"BPE","vocab":{"a":0,"b":0},"merges":[]}})", "id 0");
  refused(R"({"model":{"type":"BPE","vocab":{"a":4000000000},"merges":[]}})", "4000000000");
  refused(R"({"model":{"type":"BPE","vocab":{"a":-1},"merges":[]}})", "-1");
  refused(R"({"model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":["a b"]}})", "\"ab\"");
  refused("{", "tokenizer.json");
}

std::vector<std::string> pieces(const PreTokenizer& step, std::string_view text) {
  std::vector<std::string> out;
  const SplitPipeline pipeline(std::span(&step, 1), "test");
  pipeline.split(text, [&](std::string_view piece) { out.emplace_back(piece); });
  return out;
}

TEST(SplitPipelineTest, Behaviors) {
  PreTokenizer dash;
  dash.kind = PreTokenizer::Kind::kRegex;
  dash.pattern = "-";
  const std::string text = "the-final--countdown";
  EXPECT_THAT(pieces(dash, text), ElementsAre("the", "-", "final", "-", "-", "countdown"));
  dash.behavior = SplitBehavior::kRemoved;
  EXPECT_THAT(pieces(dash, text), ElementsAre("the", "final", "countdown"));
  dash.behavior = SplitBehavior::kMergedWithPrevious;
  EXPECT_THAT(pieces(dash, text), ElementsAre("the-", "final-", "-", "countdown"));
  dash.behavior = SplitBehavior::kMergedWithNext;
  EXPECT_THAT(pieces(dash, text), ElementsAre("the", "-final", "-", "-countdown"));
  dash.behavior = SplitBehavior::kContiguous;
  EXPECT_THAT(pieces(dash, text), ElementsAre("the", "-", "final", "--", "countdown"));
  dash.kind = PreTokenizer::Kind::kLiteral;
  dash.pattern = "--";
  dash.behavior = SplitBehavior::kIsolated;
  EXPECT_THAT(pieces(dash, text), ElementsAre("the-final", "--", "countdown"));
}

TEST(SplitPipelineTest, Digits) {
  PreTokenizer digits;
  digits.kind = PreTokenizer::Kind::kDigits;
  EXPECT_THAT(pieces(digits, "in 2024 and ٣"), ElementsAre("in ", "2024", " and ", "٣"));
  digits.individual_digits = true;
  EXPECT_THAT(pieces(digits, "a12"), ElementsAre("a", "1", "2"));
}

TEST(SplitPipelineTest, SeveralStepsAndAPrefixSpace) {
  PreTokenizer digits, bytes;
  digits.kind = PreTokenizer::Kind::kDigits;
  bytes.add_prefix_space = true;
  bytes.use_regex = true;
  const std::vector<PreTokenizer> steps = {digits, bytes};
  std::vector<std::string> out;
  SplitPipeline(steps, "test").split("Hi you12", [&](std::string_view p) { out.emplace_back(p); });
  EXPECT_THAT(out, ElementsAre(" Hi", " you", " 12"));
}

TEST(SplitRegexTest, ErrorsNameTheExpressionAndLimitsHold) {
  EXPECT_THROW(SplitRegex("(", "x"), FormatError);
  const SplitRegex hostile("(a+)+$", "x");
  EXPECT_THROW(hostile.for_each(std::string(64, 'a') + "b", [](size_t, size_t) {}), Error);
  // Empty matches advance.
  size_t count = 0;
  SplitRegex("b*", "x").for_each("abba月", [&](size_t, size_t) { ++count; });
  EXPECT_EQ(count, 1U);
}

TEST(NormaliseTest, LeavesMalformedBytesAlone) {
  using formats::Normalization;
  const std::vector<Normalization> nfc = {Normalization::kNfc}, nfkc = {Normalization::kNfkc},
                                   nfd = {Normalization::kNfd};
  EXPECT_EQ(normalise(nfc,
                      "e\u0301\xFF"
                      "e\u0301"),
            "é\xFF"
            "é");
  EXPECT_EQ(normalise(nfc, "月，\u3000"), "月，\u3000");
  EXPECT_EQ(normalise(nfkc, "，ﬁ"), ",fi");
  EXPECT_EQ(normalise(nfd, "é"), "e\u0301");
}

}  // namespace
}  // namespace quern::features
