#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "quern/base/heap_counter_testing.h"
#include "quern/graph/graph_testing.h"
#include "quern/graph/plan.h"
#include "quern/graph/quantized.h"
#include "quern/tensor/buffer.h"

namespace quern::graph::testing {
namespace {

constexpr int64_t kBatch = 3, kLength = 11;

/// A small decoder with its stores, ready to run.
struct Trained {
  explicit Trained(int threads = 2, PlanOptions options = {.backward = true}) : pool(threads) {
    decoder = make_decoder(parameters, 2, kBatch, kLength);
    parameters.allocate();
    parameters.allocate_gradients();
    fill_parameters(parameters, 5);
    executor.emplace(Plan(decoder.graph, std::move(options)), parameters, states, pool);
    fill_inputs(*executor);
  }

  static void fill_inputs(Executor& executor) {
    Random random(9, Stream::kTest);
    for (int32_t& id : executor.input("ids").i32_span())
      id = static_cast<int32_t>(random.below(23));
    for (int32_t& id : executor.input("targets").i32_span())
      id = static_cast<int32_t>(random.below(23)) - (random.below(6) == 0 ? 23 : 0);
    executor.input("loss_weight").f32()[0] = 1.0F / 30;
    for (uint32_t i = 0; i < 4; ++i) executor.input("random").u32()[i] = 3 + i;
  }

  std::vector<float> gradients() const {
    const auto all = parameters.gradients();
    return {all.begin(), all.end()};
  }
  float loss() const { return executor->output("loss").f32()[0]; }

  ThreadPool pool;
  ParameterStore parameters;
  StateStore states;
  Decoder decoder;
  std::optional<Executor> executor;
};

TEST(Executor, AllocatesWhatIsPlannedAndNothingInARun) {
  const uint64_t before = Buffer::live_bytes();
  Trained t;
  const size_t stores = t.parameters.allocated_bytes() + t.states.allocated_bytes();
  EXPECT_EQ(t.executor->allocated_bytes(), t.executor->plan().bytes().total());
  EXPECT_EQ(Buffer::live_bytes() - before, stores + t.executor->plan().bytes().total());
  t.executor->run();
  const uint64_t heap = heap_allocations;
  const uint64_t buffers = Buffer::allocations();
  for (int i = 0; i < 3; ++i) t.executor->run(i == 2);
  EXPECT_EQ(heap_allocations - heap, 0U);
  EXPECT_EQ(Buffer::allocations() - buffers, 0U);
}

TEST(Executor, SameBitsAtAnyNumberOfThreads) {
  std::vector<float> first;
  for (const int threads : {1, 2, 3}) {
    Trained t(threads);
    t.executor->run();
    std::vector<float> all = t.gradients();
    all.push_back(t.loss());
    if (first.empty()) first = all;
    EXPECT_EQ(0, std::memcmp(first.data(), all.data(), all.size() * sizeof(float)))
        << threads << " threads";
  }
}

TEST(Executor, KernelsMatchReferences) {
  Trained kernels;
  Trained reference(1, {.backward = true, .reference = true});
  kernels.executor->run();
  reference.executor->run();
  EXPECT_NEAR(kernels.loss(), reference.loss(), 1e-5F);
  const auto got = kernels.gradients();
  const auto want = reference.gradients();
  float largest = 0;
  for (const float g : want) largest = std::max(largest, std::fabs(g));
  for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-5F * largest) << i;
}

/// The whole chain, the tied table above all: its gradient meets from both ends.
TEST(Executor, GradientsMatchFiniteDifferences) {
  Trained t(1, {.backward = true, .reference = true});
  t.executor->run();
  const std::vector<float> gradients = t.gradients();
  Random random(3, Stream::kTest);
  for (size_t index = 0; index < t.parameters.parameters().size(); ++index) {
    const ParameterInfo& info = t.parameters.parameters()[index];
    float largest = 0;
    const auto count = static_cast<size_t>(info.shape.elements());
    for (size_t i = 0; i < count; ++i)
      largest = std::max(largest, std::fabs(gradients[info.offset + i]));
    EXPECT_GT(largest, 0) << info.name;
    for (int sample = 0; sample < 12; ++sample) {
      const size_t at = info.offset + random.below(count);
      float& value = t.parameters.values()[at];
      const float x = value;
      // nll sums in float64 below: the loss itself has too few bits left after the difference.
      const auto loss_at = [&](float moved) {
        value = moved;
        t.executor->run();
        return static_cast<double>(t.loss());
      };
      constexpr float kStep = 8e-3F;
      const double up = loss_at(x + kStep);
      const double slope = (up - loss_at(x - kStep)) / (2.0 * static_cast<double>(kStep));
      value = x;
      ASSERT_NEAR(slope, static_cast<double>(gradients[at]),
                  0.02 * static_cast<double>(largest) + 1e-4)
          << info.name << " element " << at - info.offset;
    }
  }
}

TEST(Executor, AccumulateAddsAndOtherwiseReplaces) {
  Trained t;
  const int32_t unused = t.parameters.find("table");
  ASSERT_GE(unused, 0);
  t.executor->run();
  const auto once = t.gradients();
  t.executor->run();
  EXPECT_EQ(once, t.gradients());
  t.executor->run(true);
  const auto twice = t.gradients();
  for (size_t i = 0; i < once.size(); ++i)
    ASSERT_NEAR(twice[i], 2 * once[i], 1e-5F + 1e-4F * std::fabs(once[i])) << i;
}

TEST(Executor, AParameterThatTheGraphDoesNotReachHasZeroGradient) {
  ThreadPool pool(1);
  ParameterStore parameters;
  StateStore states;
  const Decoder decoder = make_decoder(parameters, 1, kBatch, kLength);
  const int32_t extra = parameters.declare("extra", {5, 3}, ParameterGroup::kMatrix);
  parameters.allocate();
  parameters.allocate_gradients();
  fill_parameters(parameters, 5);
  Executor executor(Plan(decoder.graph, {.backward = true}), parameters, states, pool);
  Trained::fill_inputs(executor);
  for (float& g : parameters.gradient(extra).f32_span()) g = 7;
  executor.run(true);
  EXPECT_EQ(parameters.gradient(extra).f32()[0], 7) << "accumulating leaves it alone";
  executor.run();
  for (const float g : parameters.gradient(extra).f32_span()) EXPECT_EQ(g, 0);
}

TEST(Executor, KeepsGradientsAskedFor) {
  ThreadPool pool(1);
  ParameterStore parameters;
  StateStore states;
  const Decoder decoder = make_decoder(parameters, 2, kBatch, kLength);
  parameters.allocate();
  fill_parameters(parameters, 5);
  PlanOptions options{.backward = true, .wrt = {decoder.first_hidden}};
  options.parameter_gradients = false;
  Executor executor(Plan(decoder.graph, options), parameters, states, pool);
  Trained::fill_inputs(executor);
  executor.run();
  // The gradient of the table by hand: the rows of the embedding's, gathered by id, are all that a
  // run without tied output would give. Here only: it is there, finite, and not zero.
  double norm = 0;
  for (const float g : executor.gradient(decoder.first_hidden).f32_span())
    norm += static_cast<double>(g) * static_cast<double>(g);
  EXPECT_GT(norm, 1e-6);
  EXPECT_THROW(static_cast<void>(executor.gradient(decoder.table)), Error);

  // Whether the value is kept or not, the parameters' gradients are the same.
  parameters.allocate_gradients();
  Executor plain(Plan(decoder.graph, {.backward = true}), parameters, states, pool);
  Trained::fill_inputs(plain);
  plain.run();
  const std::vector<float> want(parameters.gradients().begin(), parameters.gradients().end());
  options.parameter_gradients = true;
  Executor both(Plan(decoder.graph, options), parameters, states, pool);
  Trained::fill_inputs(both);
  both.run();
  EXPECT_EQ(0,
            std::memcmp(want.data(), parameters.gradients().data(), want.size() * sizeof(float)));
  const TensorView hidden = both.gradient(decoder.first_hidden);
  EXPECT_EQ(0, std::memcmp(hidden.data, executor.gradient(decoder.first_hidden).data,
                           hidden.type.bytes()));
}

TEST(Executor, RandomGraphsGiveFiniteGradientsEqualToTheReference) {
  ThreadPool pool(2);
  int compared = 0;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed, Stream::kTest, 1);
    ParameterStore parameters;
    StateStore states;
    const Graph graph = make_random_graph(parameters, random);
    parameters.allocate();
    parameters.allocate_gradients();
    fill_parameters(parameters, seed);
    std::vector<float> results[2];
    for (const bool reference : {false, true}) {
      Executor executor(Plan(graph, {.backward = true, .reference = reference}), parameters, states,
                        pool);
      Random inputs(seed, Stream::kTest, 2);
      for (const ValueInfo& info : graph.values()) {
        if (info.kind != ValueKind::kInput) continue;
        const TensorView view = executor.input(info.name);
        for (int64_t i = 0; i < view.elements(); ++i) {
          if (info.type.dtype == DType::kF32) view.f32()[i] = static_cast<float>(inputs.normal());
          if (info.type.dtype == DType::kI32) view.i32()[i] = static_cast<int32_t>(inputs.below(9));
          if (info.type.dtype == DType::kU32) view.u32()[i] = inputs.next_u32();
        }
      }
      executor.run();
      results[reference ? 1 : 0].assign(parameters.gradients().begin(),
                                        parameters.gradients().end());
    }
    float largest = 1e-3F;
    for (const float g : results[1]) largest = std::max(largest, std::fabs(g));
    // Chains of products overflow now and then; those runs say nothing.
    if (!std::isfinite(largest)) continue;
    ++compared;
    for (size_t i = 0; i < results[0].size(); ++i)
      ASSERT_NEAR(results[0][i], results[1][i], 2e-3F * largest) << i;
  }
  EXPECT_GT(compared, 25);
}

TEST(Executor, NamesTheFirstNan) {
  Trained t(1, {.backward = true, .trace_nan = true});
  EXPECT_NO_THROW(t.executor->run());
  t.parameters.value(t.parameters.find("1.qkv")).f32()[5] = NAN;
  try {
    t.executor->run();
    FAIL() << "a NaN went unseen";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "nan");
    EXPECT_STREQ(error.what(),
                 "the first NaN is in output 0 of linear (layer 1); its inputs: x: norm of layer 1 "
                 "(3, 11, 24), weight: 1.qkv (48, 24), bias: 1.qkv.bias (48)");
  }
}

TEST(Executor, ObservesResidualsAndAttention) {
  PlanOptions options{.backward = true};
  int residuals = 0;
  std::vector<int64_t> heads;
  options.observe.push_back(
      {1, Tap::kResidual, {}, [&](int32_t layer, int64_t, int64_t, TensorView x) {
         ++residuals;
         EXPECT_EQ(layer, 1);
         EXPECT_EQ(x.shape(), (Shape{kBatch, kLength, 24}));
       }});
  options.observe.push_back(
      {0, Tap::kAttention, {3, 1}, [&](int32_t, int64_t batch, int64_t head, TensorView weights) {
         heads.push_back(batch * 10 + head);
         ASSERT_EQ(weights.shape(), (Shape{kLength, kLength}));
         for (int64_t t = 0; t < kLength; ++t) {
           double sum = 0;
           for (int64_t s = 0; s < kLength; ++s) {
             const float w = weights.f32()[t * kLength + s];
             sum += static_cast<double>(w);
             EXPECT_TRUE(s <= t || w == 0) << "a weight on the future";
           }
           EXPECT_NEAR(sum, 1, 1e-5);
         }
       }});
  Trained watched(2, std::move(options));
  watched.executor->run();
  EXPECT_EQ(residuals, 1);
  EXPECT_EQ(heads, (std::vector<int64_t>{3, 1, 13, 11, 23, 21}));
  Trained plain(2);
  plain.executor->run();
  EXPECT_EQ(plain.gradients(), watched.gradients()) << "watching changes nothing";
}

/// Decoding position by position over the cache gives what the whole sequence gives at once.
TEST(Executor, CacheGivesWhatTheWholeSequenceGives) {
  constexpr int64_t kT = 9, kCapacity = 12;
  const HeadsAttrs heads{4, 2, 6};
  AttentionAttrs attrs;
  attrs.heads = 4;
  attrs.kv_heads = 2;
  attrs.head_dim = 6;
  attrs.scale = 0.4F;
  ThreadPool pool(2);
  ParameterStore none;
  StateStore states;
  none.allocate();

  Graph whole;
  const Value all = whole.input("qkv", {DType::kF32, {2, kT, 48}});
  AttentionInputs of_sequence;
  of_sequence.qkv = all;
  whole.name_output("out", attention(whole, of_sequence, attrs));
  Executor at_once(Plan(whole, {}), none, states, pool);
  Random random(1, Stream::kTest);
  for (float& x : at_once.input("qkv").f32_span()) x = static_cast<float>(random.normal());
  at_once.run();

  Graph step;
  const TensorType cache{DType::kF32, {2, 2, kCapacity, 6}};
  const Value qkv = step.input("qkv", {DType::kF32, {2, 1, 48}});
  const Value offsets = step.input("offsets", {DType::kI32, {2}});
  const Value lengths = step.input("lengths", {DType::kI32, {2}});
  const Value keys = step.state("k", cache);
  const Value values = step.state("v", cache);
  cache_write(step, qkv, keys, values, offsets, heads);
  AttentionInputs of_cache;
  of_cache.qkv = qkv;
  of_cache.k_cache = keys;
  of_cache.v_cache = values;
  of_cache.lengths = lengths;
  step.name_output("out", attention(step, of_cache, attrs));
  Executor one(Plan(step, {}), none, states, pool);
  for (int32_t t = 0; t < kT; ++t) {
    for (int64_t b = 0; b < 2; ++b) {
      std::memcpy(one.input("qkv").f32() + b * 48, at_once.input("qkv").f32() + (b * kT + t) * 48,
                  48 * sizeof(float));
      one.input("offsets").i32()[b] = t;
      one.input("lengths").i32()[b] = t + 1;
    }
    one.run();
    for (int64_t b = 0; b < 2; ++b) {
      for (int64_t j = 0; j < 24; ++j) {
        ASSERT_NEAR(one.output("out").f32()[b * 24 + j],
                    at_once.output("out").f32()[(b * kT + t) * 24 + j], 1e-5F);
      }
    }
  }
  one.input("offsets").i32()[1] = kCapacity;
  EXPECT_THROW(one.run(), Error);
}

TEST(Stores, GroupsAreContiguousAlignedAndPaddedWithZero) {
  ParameterStore store;
  store.declare("a", {3, 5}, ParameterGroup::kMatrix);
  store.declare("norm", {7}, ParameterGroup::kVector);
  store.declare("table", {9, 2}, ParameterGroup::kEmbedding);
  store.declare("b", {4, 4}, ParameterGroup::kMatrix);
  EXPECT_THROW(store.declare("a", {1}, ParameterGroup::kVector), Error);
  store.allocate();
  EXPECT_THROW(store.declare("late", {1}, ParameterGroup::kVector), Error);
  EXPECT_EQ(store.count(), 15 + 7 + 18 + 16);
  EXPECT_EQ(store.arena_floats(), 16 + 16 + 32 + 16U);
  EXPECT_EQ(store.values().size(), store.arena_floats());
  const auto matrix = store.group(ParameterGroup::kMatrix);
  const auto table = store.group(ParameterGroup::kEmbedding);
  const auto vector = store.group(ParameterGroup::kVector);
  EXPECT_EQ(matrix.end - matrix.begin, 32U);
  EXPECT_EQ(table.begin, matrix.end);
  EXPECT_EQ(vector.begin, table.end);
  EXPECT_EQ(vector.end, store.arena_floats());
  for (int32_t i = 0; i < 4; ++i) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(store.value(i).data) % 64, 0U);
    for (float& value : store.value(i).f32_span()) value = 1;
  }
  EXPECT_EQ(store.values()[15], 0) << "padding";
  store.allocate_gradients();
  EXPECT_EQ(store.allocated_bytes(), 2 * store.arena_floats() * sizeof(float));
}

TEST(Stores, QuantisedParametersStandApart) {
  ParameterStore store;
  const int32_t a = store.declare("a", {3, 64}, ParameterGroup::kMatrix);
  const int32_t b = store.declare("b", {5, 32}, ParameterGroup::kMatrix);
  const int32_t narrow = store.declare("narrow", {5, 31}, ParameterGroup::kMatrix);
  const int32_t norm = store.declare("norm", {32}, ParameterGroup::kVector);
  EXPECT_EQ(store.quantized(), DType::kF32);
  store.quantize(a, DType::kQ4_0);
  store.quantize(b, DType::kQ4_0);
  EXPECT_THROW(store.quantize(narrow, DType::kQ4_0), ShapeError);
  EXPECT_THROW(store.quantize(norm, DType::kQ4_0), ShapeError);
  EXPECT_THROW(store.quantize(b, DType::kF16), ShapeError);
  store.allocate();
  EXPECT_THROW(store.quantize(b, DType::kQ8_0), Error);
  EXPECT_EQ(store.quantized(), DType::kQ4_0);
  EXPECT_EQ(store.count(), 3 * 64 + 5 * 32 + 5 * 31 + 32);
  EXPECT_EQ(store.values().size(), 160U + 32) << "the others alone";
  EXPECT_EQ(store.value(a).type.bytes(), 3 * 2 * 18U);
  EXPECT_EQ(store.value(b).data - store.value(a).data, 128) << "the next whole 64 bytes";
  EXPECT_EQ(store.allocated_bytes(), (160 + 32) * sizeof(float) + 128 + 128);
  EXPECT_EQ(store.value(norm).type.dtype, DType::kF32);
  EXPECT_THROW(store.allocate_gradients(), Error);
}

/// Linear and embedding alone read quantised parameters, and only as matrices of whole blocks.
TEST(Stores, WhatCanBeQuantisedFollowsFromTheGraph) {
  Graph g;
  int32_t index = 0;
  const auto parameter = [&](const char* name, Shape shape) {
    return g.parameter(name, index++, {DType::kF32, shape});
  };
  const Value ids = g.input("ids", {DType::kI32, {1, 2}});
  const Value table = parameter("table", {7, 32});
  const Value positions = parameter("positions", {4, 32});
  Value x = embedding(g, ids, table, positions, {}, 1);
  const Value weight = parameter("weight", {64, 32});
  x = linear(g, x, weight, parameter("bias", {64}));
  x = linear(g, x, parameter("narrow", {36, 64}));
  x = linear(g, x, parameter("odd", {32, 36}));
  const Value also = parameter("also added", {32, 32});
  x = linear(g, x, also);
  add(g, x, reshape(g, slice(g, also, 0, 0, 2), {1, 2, 32}));
  linear(g, x, table);  // tied
  EXPECT_EQ(quantizable_parameters(g), (std::vector<int32_t>{0, 2, 4}));
}

/// A graph is traced for the store that runs it.
TEST(Stores, QuantisedGraphsNeedQuantisedStores) {
  ParameterStore floats;
  floats.declare("w", {5, 32}, ParameterGroup::kMatrix);
  ParameterStore quantized;
  quantized.declare("w", {5, 32}, ParameterGroup::kMatrix);
  quantized.quantize(0, DType::kQ8_0);
  StateStore states;
  ThreadPool pool(1);
  for (ParameterStore* store : {&floats, &quantized}) {
    store->allocate();
    for (const DType dtype : {DType::kF32, DType::kQ8_0}) {
      Graph g;
      const Value x = g.input("x", {DType::kF32, {1, 32}});
      g.name_output("y", linear(g, x, g.parameter("w", 0, {dtype, {5, 32}})));
      const auto make = [&] { Executor(Plan(std::move(g), {}), *store, states, pool); };
      if (dtype == store->parameters()[0].dtype) {
        EXPECT_NO_THROW(make());
      } else {
        EXPECT_THROW(make(), ShapeError);
      }
    }
  }
  Graph g;
  const Value x = g.input("x", {DType::kF32, {1, 31}});
  EXPECT_THROW(linear(g, x, g.parameter("w", 0, {DType::kQ8_0, {5, 31}})), ShapeError);
}

TEST(Stores, StatesKeepTheirAddress) {
  StateStore states;
  const TensorView a = states.get("a", {DType::kF32, {4}});
  a.f32()[2] = 3;
  EXPECT_EQ(states.get("a", {DType::kF32, {4}}).data, a.data);
  EXPECT_THROW(states.get("a", {DType::kF32, {5}}), ShapeError);
  std::vector<float> outside(4, 2.0F);
  const TensorView view{reinterpret_cast<std::byte*>(outside.data()), {DType::kF32, {4}}};
  states.bind("outside", view);
  EXPECT_EQ(states.get("outside", view.type).data, view.data);
  EXPECT_THROW(states.bind("a", view), Error);
  states.clear();
  EXPECT_EQ(a.f32()[2], 0);
  EXPECT_EQ(outside[0], 2.0F) << "not ours to clear";
  EXPECT_EQ(states.allocated_bytes(), 16U);
}

}  // namespace
}  // namespace quern::graph::testing
