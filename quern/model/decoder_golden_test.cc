#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <optional>
#include <vector>

#include "quern/base/thread_pool.h"
#include "quern/formats/safetensors.h"
#include "quern/graph/plan.h"
#include "quern/model/decoder.h"

// Golden states made by tests/golden/decoder.py with PyTorch and transformers.
namespace quern::model {
namespace {

ModelConfig golden_config(const std::string& preset) {
  ModelConfig config;
  config.vocabulary = 29;
  config.width = 24;
  config.layers = 2;
  config.heads = 4;
  config.kv_heads = preset == "llama" ? 2 : 4;
  config.context = 12;
  apply_preset(config, preset);
  config.ffn_width = preset == "gpt2" ? 96 : preset == "llama" ? 40 : 56;
  config.tie_embeddings = preset != "llama";
  return config;
}

class Golden : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    config_ = golden_config(GetParam());
    declare_parameters(config_, store_);
    store_.allocate();
    store_.allocate_gradients();
    load("weight");
    TraceOptions options;
    options.batch = 3;
    options.length = 9;
    graph::PlanOptions plan;
    plan.backward = true;
    executor_.emplace(graph::Plan(trace(config_, store_, options), plan), store_, states_, pool_);
    fill(*executor_);
  }

  /// Copied, since the file promises no alignment.
  template <typename T>
  std::vector<T> read(const std::string& name) {
    const auto bytes = file_.data(file_.at(name));
    std::vector<T> values(bytes.size() / sizeof(T));
    std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
    return values;
  }
  std::vector<float> tensor(const std::string& name) { return read<float>(name); }

  void load(const std::string& prefix) {
    const auto parameters = store_.parameters();
    for (size_t i = 0; i < parameters.size(); ++i) {
      const auto values = tensor(prefix + "." + parameters[i].name);
      const auto target = store_.value(static_cast<int32_t>(i)).f32_span();
      ASSERT_EQ(values.size(), target.size()) << parameters[i].name;
      std::copy(values.begin(), values.end(), target.begin());
    }
  }

  void fill(graph::Executor& executor) {
    const auto ids = read<int32_t>("ids"), targets = read<int32_t>("targets");
    std::copy(ids.begin(), ids.end(), executor.input("ids").i32());
    std::copy(targets.begin(), targets.end(), executor.input("targets").i32());
    const auto valid =
        std::count_if(targets.begin(), targets.end(), [](int32_t t) { return t >= 0; });
    executor.input("loss_weight").f32()[0] = 1.0F / static_cast<float>(valid);
  }

  /// The largest difference over the largest magnitude of what is expected.
  static double relative_error(std::span<const float> got, std::span<const float> wanted) {
    double difference = 0, magnitude = 0;
    for (size_t i = 0; i < wanted.size(); ++i) {
      difference = std::max(difference,
                            std::abs(static_cast<double>(got[i]) - static_cast<double>(wanted[i])));
      magnitude = std::max(magnitude, std::abs(static_cast<double>(wanted[i])));
    }
    return magnitude == 0 ? difference : difference / magnitude;
  }

  ModelConfig config_;
  formats::SafetensorsFile file_{fmt::format("tests/golden/decoder_{}.safetensors", GetParam())};
  graph::ParameterStore store_;
  graph::StateStore states_;
  ThreadPool pool_{2};
  std::optional<graph::Executor> executor_;
};

TEST_P(Golden, LogitsAgree) {
  TraceOptions options;
  options.use = TraceOptions::Use::kLogits;
  options.batch = 3;
  options.length = 9;
  graph::Executor executor(graph::Plan(trace(config_, store_, options), {}), store_, states_,
                           pool_);
  const auto ids = read<int32_t>("ids");
  std::copy(ids.begin(), ids.end(), executor.input("ids").i32());
  executor.run();
  EXPECT_LE(relative_error(executor.output("logits").f32_span(), tensor("logits")), 1e-5);
}

TEST_P(Golden, EveryGradientAgrees) {
  executor_->run();
  EXPECT_NEAR(executor_->output("loss").f32()[0], tensor("loss")[0], 1e-5F * tensor("loss")[0]);
  const auto parameters = store_.parameters();
  for (size_t i = 0; i < parameters.size(); ++i) {
    EXPECT_LE(relative_error(store_.gradient(static_cast<int32_t>(i)).f32_span(),
                             tensor("gradient." + parameters[i].name)),
              1e-4)
        << parameters[i].name;
  }
}

TEST_P(Golden, TenStepsOfAdamWAgree) {
  // The optimizer as a graph of its own, as the trainer runs it.
  graph::Graph update;
  const graph::Value hyper = update.input("hyper", {DType::kF32, {graph::kHyperCount}});
  const auto parameters = store_.parameters();
  std::vector<graph::Value> values;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const TensorType type{DType::kF32, parameters[i].shape};
    const auto& name = parameters[i].name;
    states_.bind("gradient." + name, store_.gradient(static_cast<int32_t>(i)));
    const std::array<graph::Value, 5> inputs = {
        update.parameter(name, static_cast<int32_t>(i), type),
        update.state("gradient." + name, type), update.state("m." + name, type),
        update.state("v." + name, type), hyper};
    graph::OptimizerAttrs attrs;
    attrs.weight_decay = parameters[i].group == graph::ParameterGroup::kVector ? 0.0F : 0.1F;
    update.add(graph::OpCode::kAdamW, attrs, inputs);
  }
  graph::Executor optimizer(graph::Plan(std::move(update), {}), store_, states_, pool_);
  const auto h = optimizer.input("hyper").f32_span();
  for (int step = 1; step <= 10; ++step) {
    executor_->run();
    h[graph::kLearningRate] = 1e-2F;
    h[graph::kBeta1] = 0.9F;
    h[graph::kBeta2] = 0.95F;
    h[graph::kEpsilon] = 1e-4F;
    h[graph::kCorrection1] = static_cast<float>(1 - std::pow(0.9, step));
    h[graph::kCorrection2] = static_cast<float>(1 - std::pow(0.95, step));
    optimizer.run();
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    EXPECT_LE(relative_error(store_.value(static_cast<int32_t>(i)).f32_span(),
                             tensor("after." + parameters[i].name)),
              1e-4)
        << parameters[i].name;
  }
}

INSTANTIATE_TEST_SUITE_P(Presets, Golden, testing::Values("article", "gpt2", "llama"));

}  // namespace
}  // namespace quern::model
