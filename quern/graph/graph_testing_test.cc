#include "quern/graph/graph_testing.h"

#include <fmt/format.h>

#include <cmath>

// Not tests themselves: graphs that the tests of planner and executor share.
namespace quern::graph::testing {
namespace {

/// Declares on first use, so that a graph and its store grow together.
Value parameter(Graph& graph, ParameterStore& store, const std::string& name, Shape shape) {
  int32_t index = store.find(name);
  if (index < 0) index = store.declare(name, shape, ParameterGroup::kMatrix);
  return graph.parameter(name, index, {DType::kF32, shape});
}

}  // namespace

Decoder make_decoder(ParameterStore& store, int64_t layers, int64_t batch, int64_t length) {
  constexpr int64_t kVocabulary = 23, kWidth = 24, kHidden = 20;
  const HeadsAttrs heads{4, 2, 6};
  Decoder decoder;
  Graph& g = decoder.graph;
  const Value ids = g.input("ids", {DType::kI32, {batch, length}});
  const Value targets = g.input("targets", {DType::kI32, {batch, length}});
  const Value weight = g.input("loss_weight", {DType::kF32, {1}});
  const Value random = g.input("random", {DType::kU32, {4}});
  const Value rope_table = g.constant("rope", {DType::kF32, {length, 6}}, [](TensorView table) {
    for (int64_t i = 0; i < table.elements(); ++i) {
      const auto angle = static_cast<double>(i / 6) * std::pow(0.1, static_cast<double>(i % 3));
      table.f32()[i] = static_cast<float>(i % 6 < 3 ? std::cos(angle) : std::sin(angle));
    }
  });
  const auto p = [&](const std::string& name, Shape shape) {
    return parameter(g, store, name, shape);
  };
  decoder.table = p("table", {kVocabulary, kWidth});
  Value x = embedding(g, ids, decoder.table, {}, {}, 2);
  decoder.first_hidden = x;
  for (int64_t layer = 0; layer < layers; ++layer) {
    g.set_layer(static_cast<int32_t>(layer));
    const std::string name = fmt::format("{}.", layer);
    Value h = norm(g, x, {}, p(name + "norm1", {kWidth}), {}, {true, 1e-5F}).y;
    h = linear(g, h, p(name + "qkv", {48, kWidth}), p(name + "qkv.bias", {48}));
    AttentionInputs inputs;
    inputs.qkv = rope(g, h, rope_table, {}, heads);
    AttentionAttrs attrs;
    attrs.heads = 4;
    attrs.kv_heads = 2;
    attrs.head_dim = 6;
    attrs.scale = 0.4F;
    h = attention(g, inputs, attrs);
    g.tap(Tap::kAttention, h);
    x = linear(g, h, p(name + "out", {kWidth, kWidth}), {}, x);
    h = norm(g, x, {}, p(name + "norm2", {kWidth}), p(name + "norm2.bias", {kWidth}), {}).y;
    if (layer % 2 == 0) {
      h = gated_unit(g, linear(g, h, p(name + "up", {2 * kHidden, kWidth})), Activation::kSilu);
    } else {
      h = linear(g, h, p(name + "up", {kHidden, kWidth}), p(name + "up.bias", {kHidden}), {},
                 Activation::kGelu);
    }
    h = linear(g, h, p(name + "down", {kWidth, kHidden}));
    x = dropout(g, h, random, x, {0.1F, false, 2, static_cast<uint32_t>(layer)});
    g.tap(Tap::kResidual, x);
  }
  g.set_layer(-1);
  x = norm(g, x, {}, p("norm", {kWidth}), {}, {true, 1e-5F}).y;
  const auto [loss, nll] =
      cross_entropy(g, linear(g, x, decoder.table), targets, weight, {}, 0.05F);
  g.name_output("loss", loss);
  g.name_output("nll", nll);
  return decoder;
}

void fill_parameters(ParameterStore& store, uint64_t seed) {
  Random random(seed, Stream::kTest);
  for (size_t i = 0; i < store.parameters().size(); ++i) {
    const bool vector = store.parameters()[i].shape.rank() == 1;
    for (float& value : store.value(static_cast<int32_t>(i)).f32_span())
      value = static_cast<float>(0.2 * random.normal() + (vector ? 1.0 : 0.0));
  }
}

Graph make_random_graph(ParameterStore& store, Random& random) {
  Graph g;
  const auto batch = static_cast<int64_t>(1 + random.below(3));
  const auto length = static_cast<int64_t>(1 + random.below(9));
  const auto width = static_cast<int64_t>(4 + 2 * random.below(40));
  const Shape shape{batch, length, width};
  const auto p = [&](const char* kind, Shape extents) {
    // Few names, so that parameters are shared between nodes.
    return parameter(g, store, fmt::format("{}{}{}", kind, extents.to_string(), random.below(4)),
                     extents);
  };
  const Value ids = g.input("ids", {DType::kI32, {batch, length}});
  const Value noise = g.input("random", {DType::kU32, {4}});
  std::vector<Value> values{embedding(g, ids, p("table", {9, width}), {}, {}, 1)};
  if (random.below(2) == 0) values.push_back(g.input("features", {DType::kF32, shape}));
  const auto any = [&] {
    // Mostly recent ones, and now and then one from far back, which must have survived.
    const uint64_t back = random.below(3) == 0 ? random.below(values.size())
                                               : random.below(std::min<size_t>(values.size(), 3));
    return values[values.size() - 1 - back];
  };
  const uint64_t nodes = 4 + random.below(24);
  for (uint64_t i = 0; i < nodes; ++i) {
    g.set_layer(static_cast<int32_t>(i / 3));
    const auto act = static_cast<Activation>(random.below(5));
    const Value x = any();
    Value y;
    switch (random.below(12)) {
      case 0:
        y = linear(g, x, p("weight", {width, width}), {}, any(), act);
        break;
      case 1:
        y = linear(g, x, p("weight", {width, width}), p("bias", {width}), {}, act);
        break;
      case 2: {
        const NormOutputs both =
            norm(g, x, any(), p("scale", {width}), {}, {random.below(2) == 0, 1e-5F});
        if (random.below(2) == 0) values.push_back(both.sum);
        y = both.y;
        break;
      }
      case 3:
        y = norm(g, x, {}, p("scale", {width}), p("bias", {width}), {}).y;
        break;
      case 4:
        y = activation(g, x, act == Activation::kNone ? Activation::kRelu : act);
        break;
      case 5:
        y = gated_unit(g, linear(g, x, p("weight", {2 * width, width})), Activation::kSilu);
        break;
      case 6:
        y = add(g, x, any(), -0.5F);
        break;
      case 7:
        y = multiply(g, x, random.below(2) == 0 ? any() : p("bias", {width}));
        break;
      case 8:
        y = scale(g, x, 0.5F);
        break;
      case 9:
        y = dropout(g, x, noise, random.below(2) == 0 ? any() : Value{}, {0.2F, false, 2, 0});
        break;
      case 10:
        y = softmax(g, x);
        break;
      default: {
        const int64_t half = width / 2;
        y = concat(g, slice(g, x, 2, half, width), slice(g, any(), 2, 0, half), 2);
        break;
      }
    }
    g.tap(Tap::kResidual, y);
    if (random.below(8) == 0) g.name_output(fmt::format("kept {}", i), y);
    values.push_back(y);
  }
  g.set_layer(-1);
  const Value targets = g.input("targets", {DType::kI32, {batch, length}});
  const Value weight = g.input("loss_weight", {DType::kF32, {1}});
  const Value logits = linear(g, values.back(), p("table", {9, width}));
  g.name_output("loss", cross_entropy(g, logits, targets, weight).loss);
  return g;
}

}  // namespace quern::graph::testing
