#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "quern/base/error.h"
#include "quern/base/random.h"
#include "quern/base/text_encoding.h"
#include "quern/infer/generate.h"
#include "quern/infer/session.h"
#include "quern/model/decoder.h"

namespace quern::infer {
namespace {

/// A random model wide enough in its weights that logits differ clearly.
struct Model {
  model::ModelConfig config;
  graph::ParameterStore parameters;

  explicit Model(std::string_view preset, int64_t vocabulary = 257, int64_t context = 48) {
    config.layers = 2;
    config.heads = 4;
    config.kv_heads = 2;
    config.width = 32;
    config.ffn_width = 48;
    config.context = context;
    config.vocabulary = vocabulary;
    model::apply_preset(config, preset);

    model::declare_parameters(config, parameters);
    parameters.allocate();
    model::initialise(config, parameters, 5);
    Random random(9, Stream::kTest);
    for (size_t i = 0; i < parameters.parameters().size(); ++i) {
      for (float& value : parameters.value(static_cast<int32_t>(i)).f32_span()) {
        value += 0.2F * static_cast<float>(random.normal());
      }
    }
  }
};

std::vector<uint32_t> some_tokens(size_t count, uint64_t seed = 1) {
  Random random(seed, Stream::kTest, 77);
  std::vector<uint32_t> tokens(count);
  for (uint32_t& token : tokens) token = static_cast<uint32_t>(random.below(257));
  return tokens;
}

std::vector<float> copy(std::span<const float> values) { return {values.begin(), values.end()}; }

void expect_near(std::span<const float> a, std::span<const float> b, float tolerance) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], tolerance) << "at " << i;
}

class SessionOf : public testing::TestWithParam<const char*> {};

// The training graph's forward pass is the oracle: decoding over the cache must agree with it at
// every position.
TEST_P(SessionOf, DecodingAgreesWithTheWholeSequence) {
  Model model(GetParam());
  ThreadPool pool(1);
  const auto tokens = some_tokens(37);
  model::TraceOptions options;
  options.use = model::TraceOptions::Use::kLogits;
  options.length = 37;
  graph::StateStore states;
  graph::Executor whole(graph::Plan(model::trace(model.config, model.parameters, options), {}),
                        model.parameters, states, pool);
  for (size_t i = 0; i < tokens.size(); ++i)
    whole.input("ids").i32()[i] = static_cast<int32_t>(tokens[i]);
  whole.run();
  const auto logits = whole.output("logits").f32_span();

  Session one(model.config, model.parameters, pool);
  for (size_t i = 0; i < tokens.size(); ++i) {
    expect_near(one.feed({&tokens[i], 1}), logits.subspan(i * 257, 257), 2e-4F);
  }
  Session at_once(model.config, model.parameters, pool);
  expect_near(at_once.feed(tokens), logits.last(257), 2e-4F);
}
INSTANTIATE_TEST_SUITE_P(Presets, SessionOf, testing::Values("article", "gpt2", "llama"));

TEST(Session, RewindingForgets) {
  Model model("llama");
  ThreadPool pool(1);
  Session session(model.config, model.parameters, pool);
  const auto a = some_tokens(20, 1), b = some_tokens(7, 2);
  session.feed(a);
  session.feed(b);
  session.rewind(12);
  const auto after = copy(session.feed(std::span(a).subspan(12)));
  Session fresh(model.config, model.parameters, pool);
  expect_near(after, fresh.feed(a), 1e-4F);
}

TEST(Session, AFullContextForgetsItsOlderHalf) {
  Model model("gpt2");
  ThreadPool pool(1);
  Session session(model.config, model.parameters, pool);
  const auto tokens = some_tokens(49);
  for (const uint32_t token : std::span(tokens).first(48)) session.feed({&token, 1});
  const auto logits = copy(session.feed({&tokens[48], 1}));
  EXPECT_EQ(session.tokens().size(), 25U);
  Session fresh(model.config, model.parameters, pool);
  expect_near(logits, fresh.feed(std::span(tokens).last(25)), 1e-4F);
}

TEST(Session, APromptLongerThanTheContextKeepsItsEnd) {
  Model model("llama");
  ThreadPool pool(1);
  const auto tokens = some_tokens(200);
  Session session(model.config, model.parameters, pool);
  const auto logits = copy(session.feed(tokens));
  Session fresh(model.config, model.parameters, pool);
  expect_near(logits, fresh.feed(std::span(tokens).last(48)), 0);
}

TEST(Session, TheSameBitsAtOneAndTwoThreads) {
  Model model("llama");
  const auto tokens = some_tokens(30);
  ThreadPool one(1), two(2);
  Session a(model.config, model.parameters, one), b(model.config, model.parameters, two);
  EXPECT_EQ(copy(a.feed(tokens)), copy(b.feed(tokens)));
}

TEST(Session, RefusesATokenOutsideTheVocabulary) {
  Model model("llama");
  ThreadPool pool(1);
  Session session(model.config, model.parameters, pool);
  const std::vector<uint32_t> bad = {3, 257};
  EXPECT_THROW(session.feed(bad), Error);
  EXPECT_THROW(session.feed({}), Error);
}

class Generate : public testing::Test {
 protected:
  Model model_{"llama", 256};  // it cannot end the text
  ThreadPool pool_{2};
  std::shared_ptr<const features::Tokenizer> tokenizer_ = features::Tokenizer::byte_level();

  GenerateResult run(const GenerateOptions& options, const GenerateObserver& observer = {}) {
    Session session(model_.config, model_.parameters, pool_);
    return generate(session, *tokenizer_, "The cat", options, observer);
  }
};

TEST_F(Generate, TheSeedFixesTheText) {
  GenerateOptions options;
  options.max_tokens = 60;
  const GenerateResult first = run(options), again = run(options);
  EXPECT_EQ(first.text, again.text);
  options.sampling.seed = 2;
  EXPECT_NE(first.text, run(options).text);
}

TEST_F(Generate, StreamsWholeCharactersThatJoinToTheText) {
  GenerateOptions options;
  options.max_tokens = 80;
  options.sampling.temperature = 2;  // bytes all over the range: many broken characters
  std::string streamed;
  GenerateObserver observer;
  observer.text = [&](std::string_view text) {
    EXPECT_FALSE(find_invalid_utf8(text)) << "a piece splits a character";
    streamed += text;
  };
  EXPECT_EQ(run(options, observer).text, streamed);
}

TEST_F(Generate, AStopTextEndsItAndIsLeftOut) {
  GenerateOptions options;
  options.max_tokens = 60;
  const std::string whole = run(options).text;
  ASSERT_GT(whole.size(), 20U);
  // A stop text of two characters from the middle, whatever the model wrote there.
  size_t begin = 10;
  while ((whole[begin] & 0xC0) == 0x80) ++begin;
  options.stop = {whole.substr(begin, 4)};
  const size_t first = whole.find(options.stop[0]);
  std::string streamed;
  GenerateObserver observer;
  observer.text = [&](std::string_view text) { streamed += text; };
  const GenerateResult stopped = run(options, observer);
  EXPECT_EQ(stopped.text, whole.substr(0, first));
  EXPECT_EQ(streamed, stopped.text);
  EXPECT_EQ(stopped.reason, StopReason::kStopText);
}

TEST_F(Generate, ReportsCandidatesWithFallingProbabilities) {
  GenerateOptions options;
  options.max_tokens = 3;
  options.candidates = 5;
  const GenerateResult result = run(options);
  ASSERT_EQ(result.steps.size(), 3U);
  for (const GenerateStep& step : result.steps) {
    ASSERT_EQ(step.candidates.size(), 5U);
    for (size_t i = 1; i < 5; ++i) {
      EXPECT_GE(step.candidates[i - 1].probability, step.candidates[i].probability);
    }
    EXPECT_LE(step.probability, step.candidates[0].probability);
  }
}

TEST_F(Generate, GreedyTakesTheFirstCandidate) {
  GenerateOptions options;
  options.max_tokens = 8;
  options.candidates = 1;
  options.sampling.temperature = 0;
  for (const GenerateStep& step : run(options).steps)
    EXPECT_EQ(step.token, step.candidates[0].token);
}

// With one byte a token, the probability of a one-letter word is a plain sum over what may follow
// it.
TEST_F(Generate, NextWordsSumOverSpellings) {
  Session session(model_.config, model_.parameters, pool_);
  const NextWords words = next_words(session, *tokenizer_, "ab", 3, 60);
  ASSERT_FALSE(words.words.empty());
  double sum = 0;
  for (const WordCandidate& word : words.words) sum += word.probability;
  EXPECT_LE(sum, 1.0);
  EXPECT_EQ(session.tokens().size(), 2U);

  Session check(model_.config, model_.parameters, pool_);
  const auto by_hand = [&](const std::string& text) {
    check.reset();
    double p = 1;
    std::vector<uint32_t> tokens = tokenizer_->encode("ab");
    for (const char c : text) {
      const auto byte = static_cast<uint8_t>(c);
      p *= probabilities(check.feed(tokens))[byte];
      tokens = {byte};
    }
    return p;
  };
  // Lower bound by the single path "word, space" of whatever word came first.
  EXPECT_GE(words.words[0].probability, by_hand(words.words[0].word + " "));
}

TEST_F(Generate, NoTokensAskedGivesNone) {
  GenerateOptions options;
  options.max_tokens = 0;
  const GenerateResult result = run(options);
  EXPECT_TRUE(result.text.empty());
  EXPECT_TRUE(result.steps.empty());
}

}  // namespace
}  // namespace quern::infer
