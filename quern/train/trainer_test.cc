#include "quern/train/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <memory>
#include <vector>

#include "quern/base/error.h"
#include "quern/base/random.h"
#include "quern/task/text_problem.h"
#include "quern/train/text_testing.h"

namespace quern::train {
namespace {

constexpr int64_t kVocabulary = 17;

/// Tokens in runs of three with a random start: something to learn, and something that cannot be.
task::TokenStream make_stream(uint64_t count, uint64_t seed) {
  std::vector<uint32_t> tokens;
  Random random(seed, Stream::kTest);
  while (tokens.size() < count) {
    const auto first = static_cast<uint32_t>(random.below(kVocabulary));
    for (uint32_t i = 0; i < 3; ++i)
      tokens.push_back(static_cast<uint32_t>((first + i * i) % kVocabulary));
  }
  tokens.resize(count);
  return stream_of(std::move(tokens));
}

model::ModelConfig gpt2() { return small_model("gpt2", {.vocabulary = kVocabulary}); }

EngineOptions engine_options() {
  EngineOptions options;
  options.batch = 4;
  return options;
}

TrainerOptions trainer_options() {
  TrainerOptions options;
  options.learning_rate = 1e-2;
  options.min_learning_rate = 1e-3;
  options.steps = 24;
  options.evaluate_every = 5;
  return options;
}

class TrainerTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        fs::temp_directory_path() / ("quern_trainer_test." + std::to_string(getpid()) + "." +
                                     testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  task::Problem& problem(const model::ModelConfig& config, double token_dropout = 0) {
    problems_.push_back(
        std::make_unique<task::TextProblem>(config, train_, validation_, token_dropout, 1));
    return *problems_.back();
  }

  TrainResult train(Engine& engine, const TrainerOptions& options, bool resume = false,
                    TrainObserver* observer = nullptr) {
    TrainObserver nobody;
    Trainer trainer(engine, options, silent_reporter(), observer != nullptr ? *observer : nobody);
    if (resume) {
      EXPECT_TRUE(trainer.resume());
    }
    return trainer.run();
  }

  fs::path folder_;
  task::TokenStream train_ = make_stream(2000, 1);
  task::TokenStream validation_ = make_stream(300, 2);
  ThreadPool pool_{2};
  Ranks alone_;
  std::vector<std::unique_ptr<task::Problem>> problems_;
};

TEST_F(TrainerTest, LearnsAndKeepsTheBest) {
  Engine engine(problem(gpt2()), engine_options(), pool_, alone_);
  const double before = engine.evaluate(task::Part::kValidation).loss;
  TrainerOptions options = trainer_options();
  options.steps = 200;
  const TrainResult result = train(engine, options);
  EXPECT_NEAR(before, std::log(kVocabulary), 0.1);
  EXPECT_LT(result.validation.loss, before - 0.5);
  EXPECT_EQ(result.steps, 200);
  EXPECT_EQ(result.stopped_because, StopReason::kSteps);
  EXPECT_TRUE(result.validation.whole);
  EXPECT_EQ(result.validation.targets, 299);
  double best = 1e9;
  for (const auto& record : result.history) best = std::min(best, record.validation_loss);
  EXPECT_NEAR(result.validation.loss, best, 1e-6);
}

TEST_F(TrainerTest, SameBitsAtOneAndTwoThreads) {
  model::ModelConfig config = gpt2();
  config.dropout = 0.1F;
  config.attention_dropout = 0.1F;
  EngineOptions options = engine_options();
  options.optimizer.muon = true;
  ThreadPool one(1);
  Engine a(problem(config), options, pool_, alone_);
  Engine b(problem(config), options, one, alone_);
  train(a, trainer_options());
  train(b, trainer_options());
  EXPECT_TRUE(same_bits(a.parameters().values(), b.parameters().values()));
}

TEST_F(TrainerTest, ResumedRunEndsAtTheSameBits) {
  model::ModelConfig config = gpt2();
  config.dropout = 0.2F;
  config.drop_path = 0.1F;
  EngineOptions options = engine_options();
  options.optimizer.ema = 0.9F;
  Engine whole(problem(config, 0.1), options, pool_, alone_);
  train(whole, trainer_options());

  struct Interrupter : TrainObserver {
    void on_step(const StepRecord& record) override {
      if (record.step == 13) std::raise(SIGTERM);
    }
  } interrupter;
  TrainerOptions cut = trainer_options();
  cut.checkpoints = folder_;
  Engine first(problem(config, 0.1), options, pool_, alone_);
  const TrainResult stopped = train(first, cut, false, &interrupter);
  EXPECT_EQ(stopped.stopped_because, StopReason::kInterrupted);
  EXPECT_EQ(stopped.steps, 13);

  Engine second(problem(config, 0.1), options, pool_, alone_);
  const TrainResult result = train(second, cut, true);
  EXPECT_EQ(result.steps, 24);
  EXPECT_TRUE(same_bits(whole.parameters().values(), second.parameters().values()));
}

TEST_F(TrainerTest, OtherOptionsCannotBeResumed) {
  TrainerOptions options = trainer_options();
  options.checkpoints = folder_;
  Engine first(problem(gpt2()), engine_options(), pool_, alone_);
  train(first, options);
  options.fingerprint = "other";
  Engine second(problem(gpt2()), engine_options(), pool_, alone_);
  TrainObserver nobody;
  Trainer trainer(second, options, silent_reporter(), nobody);
  EXPECT_THROW(trainer.resume(), UsageError);
}

TEST_F(TrainerTest, AccumulationEqualsTheWholeBatch) {
  EngineOptions whole = engine_options();
  EngineOptions parts = engine_options();
  parts.accumulate = 2;
  Engine a(problem(gpt2()), whole, pool_, alone_);
  Engine b(problem(gpt2()), parts, pool_, alone_);
  for (int64_t step = 0; step < 3; ++step) {
    EXPECT_NEAR(a.step(step, 1e-3), b.step(step, 1e-3), 1e-6);
    EXPECT_NEAR(a.gradient_norm(), b.gradient_norm(), 1e-6F * a.gradient_norm());
    const auto x = a.parameters().gradients();
    const auto y = b.parameters().gradients();
    double difference = 0;
    double norm = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      difference += std::pow(static_cast<double>(x[i] - y[i]), 2);
      norm += std::pow(static_cast<double>(x[i]), 2);
    }
    EXPECT_LT(std::sqrt(difference / norm), 1e-6);
    // The steps themselves differ where a gradient is next to nothing: AdamW divides by its size.
    const auto values = a.parameters().values();
    std::copy(values.begin(), values.end(), b.parameters().values().begin());
  }
  parts.accumulate = 3;
  EXPECT_THROW(Engine(problem(gpt2()), parts, pool_, alone_), UsageError);
}

TEST_F(TrainerTest, StopsWhenValidationRisesAndRestoresTheBest) {
  train_ = make_stream(60, 3);  // so little that it is learnt by heart
  TrainerOptions options = trainer_options();
  options.steps = 2000;
  options.patience = 6;
  Engine engine(problem(gpt2()), engine_options(), pool_, alone_);
  const TrainResult result = train(engine, options);
  EXPECT_EQ(result.stopped_because, StopReason::kPatience);
  EXPECT_EQ(result.steps, result.best_step + 6 * options.evaluate_every);
  EXPECT_EQ(result.verdict.fit, Fit::kOverfits);
  EXPECT_THAT(result.verdict.text, testing::HasSubstr("restored step"));
  double best = 1e9;
  for (const auto& record : result.history) best = std::min(best, record.validation_loss);
  EXPECT_NEAR(result.validation.loss, best, 1e-6);
  EXPECT_GT(result.history.back().validation_loss, best + 0.01);
}

TEST_F(TrainerTest, StaysWithinTheTime) {
  TrainerOptions options = trainer_options();
  options.steps = 0;
  options.evaluate_every = 0;
  options.seconds = 1.5;
  options.patience = 1000000;
  options.started = std::chrono::steady_clock::now();
  Engine engine(problem(gpt2()), engine_options(), pool_, alone_);
  const TrainResult result = train(engine, options);
  EXPECT_EQ(result.stopped_because, StopReason::kTime);
  EXPECT_LE(result.seconds, 1.6);
  EXPECT_GE(result.seconds, 1.0);
  EXPECT_GT(result.history.size(), 5U);
}

TEST_F(TrainerTest, EpochsCountWindows) {
  TrainerOptions options = trainer_options();
  options.steps = 0;
  options.epochs = 1;
  Engine engine(problem(gpt2()), engine_options(), pool_, alone_);
  const TrainResult result = train(engine, options);
  EXPECT_EQ(result.stopped_because, StopReason::kEpochs);
  EXPECT_EQ(result.steps, std::lround((1999 / 8 - 1) / 4.0));
}

TEST_F(TrainerTest, DivergenceIsAnError) {
  TrainerOptions options = trainer_options();
  options.learning_rate = 1e38;
  options.warmup_steps = 0;
  EngineOptions engine_settings = engine_options();
  engine_settings.optimizer.clip = 0;
  Engine engine(problem(gpt2()), engine_settings, pool_, alone_);
  try {
    train(engine, options);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "diverged");
  }
}

TEST_F(TrainerTest, PartialEvaluationIsFixedAndEven) {
  Engine engine(problem(gpt2()), engine_options(), pool_, alone_);
  const Evaluation part = engine.evaluate(task::Part::kValidation, 10);
  EXPECT_FALSE(part.whole);
  EXPECT_LT(part.targets, 120);
  EXPECT_EQ(part.loss, engine.evaluate(task::Part::kValidation, 10).loss);
}

TEST_F(TrainerTest, PlannedMemoryIsAllocatedMemory) {
  EngineOptions options = engine_options();
  options.optimizer.ema = 0.9F;
  Engine engine(problem(gpt2()), options, pool_, alone_);
  EXPECT_EQ(engine.planned_bytes(), engine.allocated_bytes());
}

TEST(Verdict, SaysWhatHappened) {
  const std::vector<EvaluationRecord> falling = {{1, 3, 3, 0, 0, true}, {2, 2, 2, 0, 0, true}};
  EXPECT_EQ(judge(falling, 1.9, 2.0).fit, Fit::kStillLearning);
  EXPECT_EQ(judge(falling, 1.0, 2.0).fit, Fit::kGap);
  std::vector<EvaluationRecord> rising = {{1250, 3, 3, 0, 0, true}};
  for (int64_t i = 0; i < 5; ++i) rising.push_back({1300 + i, 2, 4, 0, 0, false});
  const Verdict verdict = judge(rising, 1.0, 3.0);
  EXPECT_EQ(verdict.fit, Fit::kOverfits);
  EXPECT_THAT(verdict.text, testing::HasSubstr("1,250"));
  EXPECT_EQ(verdict.rising, 5);
  EXPECT_EQ(with_commas(-1234567), "-1,234,567");
}

}  // namespace
}  // namespace quern::train
