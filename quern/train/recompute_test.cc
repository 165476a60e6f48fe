#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "quern/base/error.h"
#include "quern/graph/plan_impl.h"
#include "quern/task/text_problem.h"
#include "quern/train/engine.h"
#include "quern/train/memory.h"
#include "quern/train/text_testing.h"

// Making activations again in backward: fewer bytes, the same bits.
namespace quern::train {
namespace {

constexpr int64_t kWidth = 32, kContext = 32;

std::unique_ptr<task::TextProblem> make_problem(std::string_view preset, int64_t layers = 5) {
  model::ModelConfig config = small_model(
      preset, {.vocabulary = 31, .layers = layers, .width = kWidth, .context = kContext});
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

/// The plan of a training step of one sample.
graph::Plan plan_of(const task::Problem& problem, graph::Recompute recompute) {
  graph::ParameterStore store;
  problem.declare(store);
  graph::Graph graph = problem.trace(task::Use::kTrain, 1, store);
  std::vector<bool> flags = graph::recompute_flags(graph, recompute);
  return graph::Plan(std::move(graph), {.backward = true, .recompute = std::move(flags)});
}

TEST_P(Recompute, LightLeavesProductsAndWhatWorksInPlace) {
  const graph::Plan plan = plan_of(*make_problem(GetParam()), {5, 0});
  int again = 0;
  for (const graph::PlannedStep& step : plan.impl().steps) {
    if (!step.again) continue;
    const graph::OpCode op = plan.graph().nodes()[static_cast<size_t>(step.node)].op;
    EXPECT_TRUE(op == graph::OpCode::kNorm || op == graph::OpCode::kGatedUnit)
        << graph::op_entry(op).name;
    ++again;
  }
  EXPECT_GE(again, 5);
}

TEST_P(Recompute, NothingIsMadeAgainThatIsStillThere) {
  const graph::Plan plan = plan_of(*make_problem(GetParam()), {3, 2});
  const auto& steps = plan.impl().steps;
  for (size_t i = 0; i < steps.size(); ++i) {
    if (!steps[i].again) continue;
    for (const graph::Value output :
         plan.graph().nodes()[static_cast<size_t>(steps[i].node)].outputs) {
      const graph::Location kept = plan.impl().values[static_cast<size_t>(output.id)];
      if (!kept) continue;
      EXPECT_LT(plan.impl().slots[static_cast<size_t>(kept.index)].last, static_cast<int32_t>(i));
    }
  }
}

TEST_P(Recompute, OfWholeLayersOnlyWhatEntersThemIsKept) {
  const auto bytes = [&](int64_t layers) {
    return plan_of(*make_problem(GetParam(), layers), {0, static_cast<int32_t>(layers)})
        .bytes()
        .activations;
  };
  constexpr size_t kResidual = size_t{kContext} * kWidth * sizeof(float);
  EXPECT_EQ(bytes(16) - bytes(8), 8 * kResidual);
}

INSTANTIATE_TEST_SUITE_P(Presets, Recompute, testing::Values("gpt2", "llama", "article"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace quern::train
