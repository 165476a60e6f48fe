#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "quern/base/error.h"
#include "quern/task/text_problem.h"
#include "quern/train/engine.h"
#include "quern/train/memory.h"
#include "quern/train/text_testing.h"

// Making activations again in backward: fewer bytes, the same bits.
namespace quern::train {
namespace {

std::unique_ptr<task::TextProblem> make_problem(std::string_view preset) {
  model::ModelConfig config =
      small_model(preset, {.vocabulary = 31, .layers = 5, .width = 32, .context = 32});
  config.dropout = config.attention_dropout = 0.1F;
  config.drop_path = 0.1F;
  const task::TokenStream stream = random_stream(config.vocabulary, 500, 1);
  return std::make_unique<task::TextProblem>(config, stream, stream, 0, 1);
}

EngineOptions options_with(graph::Recompute recompute) {
  EngineOptions options;
  options.batch = 4;
  options.recompute = recompute;
  return options;
}

struct Outcome {
  std::vector<float> values;
  size_t bytes = 0;
  double flops = 0;
};

Outcome train(task::Problem& problem, const EngineOptions& options) {
  ThreadPool pool(2);
  Ranks alone;
  Engine engine(problem, options, pool, alone);
  EXPECT_EQ(engine.planned_bytes(), engine.allocated_bytes());
  for (int64_t step = 0; step < 3; ++step) engine.step(step, 1e-2);
  const auto values = engine.parameters().values();
  return {{values.begin(), values.end()}, engine.allocated_bytes(), engine.flops_per_step()};
}

class Recompute : public testing::TestWithParam<std::string_view> {};

TEST_P(Recompute, SameBitsInFewerBytes) {
  const auto problem = make_problem(GetParam());
  const Outcome kept = train(*problem, options_with({}));
  size_t before = kept.bytes;
  for (const graph::Recompute recompute : {graph::Recompute{2, 0}, graph::Recompute{5, 0},
                                           graph::Recompute{5, 2}, graph::Recompute{5, 5}}) {
    const Outcome again = train(*problem, options_with(recompute));
    EXPECT_TRUE(same_bits(kept.values, again.values))
        << recompute.light << " light, " << recompute.full << " full";
    EXPECT_LE(again.bytes, before);
    before = again.bytes;
    // Of whole layers a third more at most; norms and gated units count no product.
    EXPECT_LE(again.flops, kept.flops * 4 / 3);
    EXPECT_EQ(again.flops > kept.flops, recompute.full > 0);
  }
  EXPECT_LT(before, kept.bytes);
}

TEST_P(Recompute, FitsABudgetWithTheLeastExtraTime) {
  const auto problem = make_problem(GetParam());
  EngineOptions options = options_with({});
  const size_t most = memory_need(*problem, options).total();
  const size_t least = memory_need(*problem, options_with({5, 5})).total();
  EXPECT_EQ(fit_memory(*problem, options, most).total(), most);
  EXPECT_EQ(options.recompute, graph::Recompute{});

  int32_t full = 0;
  for (int part = 1; part <= 8; ++part) {
    const size_t budget = most - (most - least) * static_cast<size_t>(part) / 8;
    EXPECT_LE(fit_memory(*problem, options, budget).total(), budget);
    EXPECT_GE(options.recompute.full, full) << "a smaller budget recomputes less";
    full = options.recompute.full;
    if (full > 0) {
      EngineOptions less = options;
      --less.recompute.full;
      EXPECT_GT(memory_need(*problem, less).total(), budget) << "one layer fewer would have fit";
    }
  }
  const size_t need = fit_memory(*problem, options, least - 1).total();
  EXPECT_GT(need, least - 1);
  EXPECT_THROW(require_memory(need, least - 1, "tiny"), Error);
}

INSTANTIATE_TEST_SUITE_P(Presets, Recompute, testing::Values("gpt2", "llama", "article"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace quern::train
