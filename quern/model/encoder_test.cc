#include "quern/model/encoder.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "quern/base/error.h"
#include "quern/base/random.h"
#include "quern/graph/plan.h"

namespace quern::model {
namespace {

EncoderConfig mixed() {
  EncoderConfig config;
  config.trunk.layers = 2;
  config.trunk.heads = config.trunk.kv_heads = 2;
  config.trunk.width = 16;
  config.trunk.ffn_width = 32;
  config.trunk.causal = false;
  config.trunk.position = Position::kNone;
  config.trunk.bias = true;
  config.trunk.vocabulary = 11;
  config.trunk.context = 6;
  config.numbers = 3;
  config.number_bins = 5;
  config.categories = {4, 7};
  config.ngram_buckets = 13;
  config.ngram_bag = 4;
  config.image = {.height = 9, .width = 7, .channels = 3, .stem = 2, .patch = 0};
  config.mixes = true;
  config.linear = true;
  config.outputs = 3;
  config.members = 2;
  config.head_width = 24;
  return config;
}

graph::ParameterStore store_of(const EncoderConfig& config, bool gradients) {
  graph::ParameterStore store;
  declare_encoder(config, store);
  store.allocate();
  if (gradients) store.allocate_gradients();
  initialise_encoder(config, store, 3);
  return store;
}

void fill(const graph::Executor& executor, uint64_t seed) {
  Random random(seed, Stream::kTest);
  for (float& v : executor.input("numbers").f32_span()) v = static_cast<float>(random.uniform());
  const auto integers = [&](const char* name, int64_t below) {
    const TensorView view = executor.input(name);
    for (int64_t i = 0; i < view.elements(); ++i)
      view.i32()[i] = static_cast<int32_t>(random.below(static_cast<uint64_t>(below)));
  };
  integers("categories", 11);
  integers("ids", 11);
  integers("ngrams", 13);
  const TensorView lengths = executor.input("lengths");
  for (int64_t i = 0; i < lengths.elements(); ++i) {
    lengths.i32()[i] = static_cast<int32_t>(1 + i % 6);
    executor.input("sequence_lengths").i32()[i] = static_cast<int32_t>(5 + 6 + 1 + i % 6);
  }
  for (float& v : executor.input("image").f32_span()) v = static_cast<float>(random.normal());
  for (float& v : executor.input("linear").f32_span()) v = static_cast<float>(random.normal());
  for (float& v : executor.input("ngram_scale").f32_span()) v = 0.25F;
}

TEST(Encoder, GradientsAreThoseOfFiniteDifferences) {
  const EncoderConfig config = mixed();
  graph::ParameterStore store = store_of(config, true);
  // The n-gram table starts silent; here it speaks.
  Random random(5, Stream::kTest);
  for (float& v : store.values()) v += static_cast<float>(0.05 * random.normal());
  graph::StateStore states;
  ThreadPool pool(2);
  graph::PlanOptions options;
  options.backward = true;
  graph::Executor executor(
      graph::Plan(trace_encoder(config, store, {.training = true, .batch = 5}), options), store,
      states, pool);
  fill(executor, 1);
  const TensorView targets = executor.input("targets");
  for (int64_t i = 0; i < targets.elements(); ++i)
    targets.i32()[i] = static_cast<int32_t>(i / 2 % 3);
  for (float& w : executor.input("row_weight").f32_span()) w = 0.7F;
  const TensorView partners = executor.input("partner_targets");
  for (int64_t i = 0; i < partners.elements(); ++i)
    partners.i32()[i] = static_cast<int32_t>((i + 1) / 2 % 3);
  for (float& w : executor.input("partner_weight").f32_span()) w = 0.3F;
  *executor.input("loss_weight").f32() = 0.1F;
  const auto loss = [&] {
    executor.run();
    return static_cast<double>(*executor.output("loss").f32());
  };
  loss();
  const std::vector<float> gradient(store.gradients().begin(), store.gradients().end());
  // Along random directions, tensor by tensor.
  for (const auto& info : store.parameters()) {
    const auto values =
        store.values().subspan(info.offset, static_cast<size_t>(info.shape.elements()));
    const std::vector<float> before(values.begin(), values.end());
    std::vector<double> direction(values.size());
    double expected = 0;
    for (size_t i = 0; i < direction.size(); ++i) {
      direction[i] = random.normal();
      expected += direction[i] * static_cast<double>(gradient[info.offset + i]);
    }
    const double h = 2e-3 / std::sqrt(static_cast<double>(direction.size()));
    const auto at = [&](double step) {
      for (size_t i = 0; i < direction.size(); ++i)
        values[i] = static_cast<float>(static_cast<double>(before[i]) + step * direction[i]);
      return loss();
    };
    const double measured = (at(h) - at(-h)) / (2 * h);
    std::copy(before.begin(), before.end(), values.begin());
    EXPECT_NEAR(measured, expected, 2e-3 + 0.03 * std::abs(expected)) << info.name;
  }
}

TEST(Encoder, PaddingChangesNothing) {
  const EncoderConfig config = mixed();
  graph::ParameterStore store = store_of(config, false);
  graph::StateStore states;
  ThreadPool pool(1);
  graph::Executor executor(graph::Plan(trace_encoder(config, store, {.batch = 4}), {}), store,
                           states, pool);
  fill(executor, 1);
  executor.run();
  const auto view = executor.output("logits").f32_span();
  const std::vector<float> first(view.begin(), view.end());
  EXPECT_EQ(first.size(), 4U * 2U * 3U);
  // Ids past a row's length may be anything.
  executor.input("ids").i32()[0 * 6 + 3] = 1;
  executor.input("ids").i32()[2 * 6 + 5] = 2;
  executor.run();
  for (size_t i = 0; i < first.size(); ++i)
    EXPECT_EQ(first[i], executor.output("logits").f32_span()[i]);
}

TEST(Encoder, CopiesAnswerAsEachAlone) {
  EncoderConfig config = mixed();
  config.copies = 2;
  graph::ParameterStore both;
  declare_encoder(config, both);
  both.allocate();
  Random random(7, Stream::kTest);
  for (float& v : both.values()) v = static_cast<float>(0.3 * random.normal());
  graph::StateStore states;
  ThreadPool pool(1);
  constexpr int64_t kBatch = 3;
  graph::Executor executor(graph::Plan(trace_encoder(config, both, {.batch = kBatch}), {}), both,
                           states, pool);
  fill(executor, 1);
  executor.run();
  const auto whole = executor.output("logits").f32_span();
  ASSERT_EQ(whole.size(), 3U * 4U * 3U);
  for (int64_t copy = 0; copy < 2; ++copy) {
    graph::ParameterStore one = store_of(config.single(), false);
    for (size_t i = 0; i < one.parameters().size(); ++i) {
      const int32_t from = both.find(config.copy_prefix(copy) + one.parameters()[i].name);
      ASSERT_GE(from, 0);
      const auto values = both.value(from).f32_span();
      std::copy(values.begin(), values.end(),
                one.value(static_cast<int32_t>(i)).f32_span().begin());
    }
    graph::Executor alone(graph::Plan(trace_encoder(config.single(), one, {.batch = kBatch}), {}),
                          one, states, pool);
    fill(alone, 1);
    alone.run();
    const auto part = alone.output("logits").f32_span();
    for (size_t row = 0; row < kBatch; ++row)
      for (size_t i = 0; i < 6; ++i)
        EXPECT_FLOAT_EQ(whole[row * 12 + static_cast<size_t>(copy) * 6 + i], part[row * 6 + i]);
  }
}

TEST(Encoder, ConfigurationIsSavedWhole) {
  EncoderConfig config = mixed();
  config.copies = 3;
  config.answer = Answer::kValue;
  config.outputs = 1;
  const std::string text = to_json(config);
  EXPECT_TRUE(is_encoder_json(text, "config.json"));
  EXPECT_EQ(to_json(encoder_from_json(text, "config.json")), text);
  config.outputs = 2;
  EXPECT_THROW(config.validate(), UsageError);
  EXPECT_THROW(encoder_from_json("{\"model_type\": \"quern_encoder\"}", "c"), FormatError);
}

TEST(Encoder, PlannedMemoryIsAllocatedMemory) {
  const EncoderConfig config = mixed();
  graph::ParameterStore store = store_of(config, true);
  graph::StateStore states;
  ThreadPool pool(2);
  graph::PlanOptions options;
  options.backward = true;
  graph::Plan plan(trace_encoder(config, store, {.training = true, .batch = 5}), options);
  const size_t planned = plan.bytes().total();
  const graph::Executor executor(std::move(plan), store, states, pool);
  EXPECT_EQ(executor.allocated_bytes(), planned);
}

}  // namespace
}  // namespace quern::model
