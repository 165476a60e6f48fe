#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <vector>

#include "quern/kernels/cuda/emulated/emulated_driver.h"
#include "quern/kernels/cuda/gpu.h"
#include "quern/task/text_problem.h"
#include "quern/train/engine.h"
#include "quern/train/text_testing.h"

// Whole optimizer steps on the emulated GPU beside the processor's: forward, backward, clipping,
// AdamW, Muon and averages, evaluation, the tensors of a checkpoint.
namespace quern::train {
namespace {

using kernels::cuda::EmulatedDriver;
using kernels::cuda::Gpu;

constexpr int64_t kVocabulary = 19;

model::ModelConfig tiny_model(std::string_view preset) {
  model::ModelConfig config =
      small_model(preset, {.vocabulary = kVocabulary, .layers = 1, .width = 8, .context = 6});
  config.dropout = 0.1F;
  return config;
}

class CudaEngine : public ::testing::TestWithParam<const char*> {
 protected:
  std::unique_ptr<Engine> make(Gpu* gpu, graph::Recompute recompute = {}) {
    problems_.push_back(
        std::make_unique<task::TextProblem>(tiny_model(GetParam()), train_, validation_, 0, 1));
    EngineOptions options;
    options.batch = 4;
    options.accumulate = 2;
    options.gpu = gpu;
    options.recompute = recompute;
    options.optimizer.muon = std::string_view(GetParam()) == "llama";
    options.optimizer.ema = 0.9F;
    return std::make_unique<Engine>(*problems_.back(), options, pool_, alone_);
  }

  task::TokenStream train_ = random_stream(kVocabulary, 400, 1);
  task::TokenStream validation_ = random_stream(kVocabulary, 60, 2);
  ThreadPool pool_{1};
  Ranks alone_;
  std::vector<std::unique_ptr<task::Problem>> problems_;
};

TEST_P(CudaEngine, TrainsAsTheProcessorDoes) {
  auto driver = std::make_unique<EmulatedDriver>();
  const EmulatedDriver& emulated = *driver;
  Gpu gpu(std::move(driver));
  const size_t before = gpu.driver().free_bytes();
  const auto cuda = make(&gpu);
  EXPECT_EQ(before - gpu.driver().free_bytes(), cuda->planned_bytes());
  const auto cpu = make(nullptr);
  for (int64_t step = 0; step < 3; ++step) {
    SCOPED_TRACE(step);
    EXPECT_NEAR(cuda->step(step, 1e-2), cpu->step(step, 1e-2), 1e-4);
    EXPECT_NEAR(cuda->gradient_norm(), cpu->gradient_norm(), 1e-4F * cpu->gradient_norm());
  }
  EXPECT_GT(emulated.graph_launches(), 0) << "later runs are replays";
  EXPECT_NEAR(cuda->evaluate(task::Part::kValidation).loss,
              cpu->evaluate(task::Part::kValidation).loss, 1e-4);

  const auto got = cuda->tensors();
  const auto want = cpu->tensors();
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    ASSERT_EQ(got[i].name, want[i].name);
    for (size_t k = 0; k < want[i].values.size(); ++k)
      ASSERT_NEAR(got[i].values[k], want[i].values[k], 2e-3F) << want[i].name << " at " << k;
  }
  EXPECT_EQ(cuda->allocated_bytes(), cuda->planned_bytes());
}

TEST_P(CudaEngine, MakesActivationsAgainToTheSameBits) {
  std::vector<float> kept;
  size_t bytes = 0;
  for (const graph::Recompute recompute : {graph::Recompute{}, graph::Recompute{1, 1}}) {
    Gpu gpu(std::make_unique<EmulatedDriver>());
    const auto engine = make(&gpu, recompute);
    EXPECT_EQ(engine->allocated_bytes(), engine->planned_bytes());
    for (int64_t step = 0; step < 3; ++step) engine->step(step, 1e-2);
    const auto values = engine->parameters().values();
    if (kept.empty()) {
      kept.assign(values.begin(), values.end());
      bytes = engine->allocated_bytes();
      continue;
    }
    EXPECT_TRUE(same_bits(kept, values));
    EXPECT_LT(engine->allocated_bytes(), bytes);
  }
}

/// With activations in bfloat16: near the processor's float32, and the same bits again, whether
/// kept or made again.
TEST_P(CudaEngine, TrainsInBFloat16) {
  const auto cpu = make(nullptr);
  std::vector<double> want;
  for (int64_t step = 0; step < 4; ++step) want.push_back(cpu->step(step, 1e-2));
  std::vector<float> first;
  for (const graph::Recompute recompute :
       {graph::Recompute{}, graph::Recompute{}, graph::Recompute{1, 1}}) {
    Gpu gpu(std::make_unique<EmulatedDriver>(), kernels::cuda::Precision::kBf16);
    const size_t before = gpu.driver().free_bytes();
    const auto engine = make(&gpu, recompute);
    EXPECT_EQ(before - gpu.driver().free_bytes(), engine->planned_bytes());
    EXPECT_EQ(engine->allocated_bytes(), engine->planned_bytes());
    for (int64_t step = 0; step < 4; ++step)
      EXPECT_NEAR(engine->step(step, 1e-2), want[static_cast<size_t>(step)], 1e-2) << step;
    EXPECT_NEAR(engine->gradient_norm(), cpu->gradient_norm(), 3e-2F * cpu->gradient_norm());
    EXPECT_NEAR(engine->evaluate(task::Part::kValidation).loss,
                cpu->evaluate(task::Part::kValidation).loss, 1e-2);
    const auto values = engine->parameters().values();
    if (first.empty()) first.assign(values.begin(), values.end());
    EXPECT_TRUE(same_bits(first, values));
  }
}

TEST_P(CudaEngine, RoundsWeightsByChanceWhereAskedTo) {
  const auto losses = [&](bool stochastic) {
    Gpu gpu(std::make_unique<EmulatedDriver>(), kernels::cuda::Precision::kBf16, stochastic);
    const auto engine = make(&gpu);
    std::vector<double> result;
    for (int64_t step = 0; step < 3; ++step) result.push_back(engine->step(step, 1e-2));
    return result;
  };
  const std::vector<double> nearest = losses(false);
  const std::vector<double> chance = losses(true);
  EXPECT_EQ(chance, losses(true)) << "chance follows from seed and step";
  EXPECT_NE(chance, nearest);
  for (size_t i = 0; i < nearest.size(); ++i) EXPECT_NEAR(chance[i], nearest[i], 1e-2);
}

/// Counts how often the samples of training are filled in, and which.
class Watched : public task::TextProblem {
 public:
  using TextProblem::TextProblem;
  void fill_training(uint64_t first, graph::Executor& executor) override {
    filled.push_back(first);
    TextProblem::fill_training(first, executor);
  }
  std::vector<uint64_t> filled;
};

TEST(CudaEngineRehearsal, FillsSamplesEveryTime) {
  const task::TokenStream stream = random_stream(kVocabulary, 400, 1);
  ThreadPool pool(1);
  Ranks alone;
  for (const bool cuda : {false, true}) {
    SCOPED_TRACE(cuda);
    Gpu gpu(std::make_unique<EmulatedDriver>());
    Watched problem(tiny_model("gpt2"), stream, stream, 0, 1);
    EngineOptions options;
    options.batch = 4;
    if (cuda) options.gpu = &gpu;
    Engine engine(problem, options, pool, alone);
    for (int i = 0; i < 3; ++i) engine.rehearse();
    // A GPU has the samples after them by then.
    const std::vector<uint64_t> ahead = {0, 4, 8, 12};
    EXPECT_EQ(problem.filled, std::vector(ahead.begin(), ahead.end() - (cuda ? 0 : 1)));
    engine.step(0, 1e-2);
    EXPECT_EQ(problem.filled[cuda ? 4 : 3], 0U) << "training begins at its first sample";
  }
}

INSTANTIATE_TEST_SUITE_P(Presets, CudaEngine, ::testing::Values("gpt2", "llama"),
                         [](const auto& info) { return std::string(info.param); });

TEST(CudaEngineMemory, IsAskedForBeforeAnythingIsMade) {
  Gpu gpu(std::make_unique<EmulatedDriver>(
      EmulatedDriver::Options{.memory = (size_t{32} << 20) + 20000}));
  const task::TokenStream stream = random_stream(kVocabulary, 400, 1);
  task::TextProblem problem(tiny_model("gpt2"), stream, stream, 0, 1);
  EngineOptions options;
  options.batch = 4;
  options.gpu = &gpu;
  ThreadPool pool(1);
  Ranks alone;
  const size_t before = gpu.driver().free_bytes();
  try {
    const Engine engine(problem, options, pool, alone);
    FAIL() << "training was begun on a device that it does not fit";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "out_of_memory");
    EXPECT_NE(std::string(error.what()).find("training needs"), std::string::npos) << error.what();
  }
  EXPECT_EQ(gpu.driver().free_bytes(), before);
}

}  // namespace
}  // namespace quern::train
