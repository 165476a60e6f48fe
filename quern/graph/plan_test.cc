#include "quern/graph/plan.h"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "quern/graph/graph_testing.h"
#include "quern/graph/plan_impl.h"
#include "quern/graph/recompute.h"
#include "quern/tensor/buffer.h"

namespace quern::graph::testing {
namespace {

/// Replays a plan on paint: every write colours the bytes it covers, every read must find its own
/// colour. Knows nothing of lifetimes: only what each step reads and writes, from the op table.
class Painter {
 public:
  explicit Painter(const Plan& plan)
      : p_(plan.impl()), g_(p_.graph), paint_(p_.bytes.activations, 0) {}

  void run() {
    for (size_t i = 0; i < g_.values().size(); ++i) {
      if (g_.values()[i].kind == ValueKind::kInput) write(p_.values[i], value(i));
    }
    for (size_t i = 0; i < p_.steps.size(); ++i) {
      if (static_cast<int32_t>(i) == p_.first_backward && p_.seed)
        paint(p_.seed, sizeof(float), gradient(index(g_.output("loss"))));
      const PlannedStep& step = p_.steps[i];
      if (!step.backward || step.both) forward(step);
      if (step.backward) backward(step);
      if (::testing::Test::HasFailure()) return;
    }
    for (const auto& [name, output] : g_.outputs())
      read(p_.values[index(output)], value(index(output)));
    for (const Value wanted : p_.options.wrt) {
      const Colour kept = kept_.contains(wanted.id) ? kept_[wanted.id] : gradient(index(wanted));
      read(p_.gradients[index(wanted)], kept);
    }
    for (size_t i = 0; i < g_.values().size(); ++i) {
      if (g_.values()[i].kind == ValueKind::kInput) read(p_.values[i], value(i));
    }
  }

 private:
  struct Colour {
    int32_t id;  // unique
    size_t of;   // the value, for its size
  };
  static size_t index(Value v) { return static_cast<size_t>(v.id); }
  static Colour value(size_t v) { return {static_cast<int32_t>(2 * v + 1), v}; }
  static Colour gradient(size_t v) { return {static_cast<int32_t>(2 * v + 2), v}; }
  Colour fresh(size_t v) { return {next_++, v}; }

  size_t bytes(Colour colour) const { return g_.values()[colour.of].type.bytes(); }
  size_t begin(Location place) const { return p_.slots[static_cast<size_t>(place.index)].offset; }
  static bool in_arena(Location place) { return place.kind == Location::Kind::kSlot; }

  void paint(Location place, size_t count, Colour colour) {
    if (!in_arena(place)) return;
    ASSERT_LE(begin(place) + count, paint_.size()) << "outside the arena";
    ASSERT_EQ(begin(place) % 64, 0U);
    for (size_t i = 0; i < count; ++i) paint_[begin(place) + i] = colour.id;
  }
  void write(Location place, Colour colour) { paint(place, bytes(colour), colour); }
  void read(Location place, Colour colour) const {
    if (!in_arena(place)) return;
    for (size_t i = 0; i < bytes(colour); ++i) {
      ASSERT_EQ(paint_[begin(place) + i], colour.id)
          << "value " << colour.of << " was overwritten before it was read";
    }
  }

  struct Touched {
    Location place;
    size_t count;
  };
  bool overlap(Location a, size_t a_bytes, Location b, size_t b_bytes) const {
    return in_arena(a) && in_arena(b) && begin(a) < begin(b) + b_bytes &&
           begin(b) < begin(a) + a_bytes;
  }
  /// What a step writes must not lie on what it reads, but where the op allows exactly that.
  void expect_apart(Location written, size_t written_bytes, const std::vector<Touched>& reads,
                    Location allowed) const {
    for (const Touched& read : reads) {
      if (written == read.place && read.place == allowed) continue;
      EXPECT_FALSE(overlap(written, written_bytes, read.place, read.count))
          << "a step writes over what it still reads";
    }
  }

  void forward(const PlannedStep& step) {
    const Node& node = g_.nodes()[static_cast<size_t>(step.node)];
    const OpEntry& entry = op_entry(node.op);
    std::vector<Touched> touched;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (!node.inputs[i]) continue;
      ASSERT_TRUE(step.inputs[i]) << "an input without a place";
      read(step.inputs[i], value(index(node.inputs[i])));
      touched.push_back({step.inputs[i], bytes(value(index(node.inputs[i])))});
    }
    const auto in_place = static_cast<size_t>(entry.in_place_input);
    for (size_t k = 0; k < node.outputs.size(); ++k) {
      const Colour colour = value(index(node.outputs[k]));
      const bool may =
          k == 0 && entry.in_place_input >= 0 && in_place < node.inputs.size() &&
          std::count(node.inputs.begin(), node.inputs.end(), node.inputs[in_place]) == 1;
      expect_apart(step.outputs[k], bytes(colour), touched,
                   may ? step.inputs[in_place] : Location{});
      write(step.outputs[k], colour);
      const uint32_t required = entry.required_outputs == nullptr
                                    ? 1U
                                    : entry.required_outputs(node.attrs, present_inputs(node));
      if ((required >> k & 1U) != 0) {
        ASSERT_TRUE(step.outputs[k]) << "an output that must be written";
      }
    }
    for (size_t k = 0; k < node.outputs.size(); ++k)
      read(step.outputs[k], value(index(node.outputs[k])));  // not over each other
    for (const size_t i : step.observations) {
      for (const TapPoint& tap : g_.taps()) {
        if (tap.tap != p_.options.observe[i].tap || tap.node != step.node) continue;
        ASSERT_TRUE(p_.values[index(tap.value)]) << "an observed value without a place";
        read(p_.values[index(tap.value)], value(index(tap.value)));
      }
    }
  }

  void backward(const PlannedStep& step) {
    const Node& node = g_.nodes()[static_cast<size_t>(step.node)];
    const OpEntry& entry = op_entry(node.op);
    const uint32_t present = present_inputs(node);
    const Saved saved = entry.saved(node.attrs, present);
    std::vector<Touched> touched;
    const auto reads = [&](Location place, Colour colour) {
      read(place, colour);
      touched.push_back({place, bytes(colour)});
    };
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (!node.inputs[i] || (saved.inputs >> i & 1U) == 0) continue;
      ASSERT_TRUE(step.inputs[i]) << "a saved input without a place";
      reads(step.inputs[i], value(index(node.inputs[i])));
    }
    for (size_t k = 0; k < node.outputs.size(); ++k) {
      if (step.both && step.outputs[k])
        touched.push_back({step.outputs[k], bytes(value(index(node.outputs[k])))});
      if (!step.both && (saved.outputs >> k & 1U) != 0) {
        ASSERT_TRUE(step.outputs[k]) << "a saved output without a place";
        reads(step.outputs[k], value(index(node.outputs[k])));
      }
      if (step.output_grads[k]) reads(step.output_grads[k], gradient(index(node.outputs[k])));
    }
    for (const auto& keep : step.keeps) {
      kept_[keep.value.id] = fresh(index(keep.value));
      expect_apart(keep.to, bytes(kept_[keep.value.id]), touched, {});
      write(keep.to, kept_[keep.value.id]);
    }
    const GradientAlias alias = entry.gradient_alias != nullptr
                                    ? entry.gradient_alias(node.attrs, present)
                                    : GradientAlias{};
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (!step.input_grads[i]) continue;
      const size_t v = index(node.inputs[i]);
      const bool temporary = std::any_of(step.adds.begin(), step.adds.end(), [&](const auto& add) {
        return add.from == step.input_grads[i];
      });
      if (step.accumulate[i]) read(step.input_grads[i], gradient(v));
      Location allowed;
      if (entry.in_place_gradient == static_cast<int>(i)) allowed = step.inputs[i];
      if (alias.input == static_cast<int>(i))
        allowed = step.output_grads[static_cast<size_t>(alias.output)];
      if (std::count(node.inputs.begin(), node.inputs.end(), node.inputs[i]) > 1) allowed = {};
      expect_apart(step.input_grads[i], bytes(gradient(v)), touched, allowed);
      write(step.input_grads[i], temporary ? fresh(v) : gradient(v));
    }
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const bool temporary = std::any_of(step.adds.begin(), step.adds.end(), [&](const auto& add) {
        return add.from == step.input_grads[i];
      });
      if (step.input_grads[i] && !temporary)
        read(step.input_grads[i], gradient(index(node.inputs[i])));
    }
    for (const auto& add : step.adds) read(add.to, gradient(index(add.value)));
  }

  const Plan::Impl& p_;
  const Graph& g_;
  std::vector<int32_t> paint_;
  std::map<int32_t, Colour> kept_;
  int32_t next_ = 1 << 28;
};

/// What is made again has left its place by then, unless something else has taken it.
void expect_gone(const Plan& plan) {
  const Plan::Impl& p = plan.impl();
  if (p.options.recompute.empty()) return;
  const std::vector<bool> again = recomputed_values(p.graph, p.options.recompute);
  for (size_t i = 0; i < again.size(); ++i) {
    const Location place = p.values[i];
    if (!again[i] || !place || std::count(p.values.begin(), p.values.end(), place) > 1) continue;
    EXPECT_LT(p.slots[static_cast<size_t>(place.index)].last, p.first_backward)
        << "value " << i << " is kept and made again";
  }
}

TEST(Planner, NothingIsOverwrittenBeforeItIsRead) {
  double lower_total = 0;
  double total = 0;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed, Stream::kTest);
    ParameterStore store;
    Graph graph = make_random_graph(store, random);
    PlanOptions options;
    options.backward = random.below(3) != 0;
    options.parameter_gradients = true;
    if (options.backward && random.below(2) == 0) {
      // The gradient of the value that the logits are made of, and of the embedded input.
      options.wrt.push_back(graph.nodes()[graph.nodes().size() - 2].inputs[0]);
    }
    if (options.backward && random.below(2) == 0) {
      for (size_t i = 0; i < graph.nodes().size(); ++i)
        options.recompute.push_back(graph.nodes()[i].layer >= 0 && random.below(2) == 0);
    }
    if (random.below(2) == 0) {
      const size_t tap = random.below(graph.taps().size());
      options.observe.push_back({graph.taps()[tap].layer, Tap::kResidual, {}, {}});
    }
    const Plan plan(std::move(graph), std::move(options));
    Painter(plan).run();
    expect_gone(plan);
    if (HasFailure()) return;
    const size_t lower = pack_lower_bound(plan.impl().slots);
    EXPECT_LE(static_cast<double>(plan.bytes().activations), 1.35 * static_cast<double>(lower));
    lower_total += static_cast<double>(lower);
    total += static_cast<double>(plan.bytes().activations);
  }
  RecordProperty("arena_over_lower_bound", std::to_string(total / lower_total));
  EXPECT_LE(total, 1.05 * lower_total);
}

TEST(Planner, PaintFindsAnOverlap) {
  ParameterStore store;
  Plan plan(make_decoder(store, 1, 2, 5).graph, {.backward = true});
  auto& slots = const_cast<Plan::Impl&>(plan.impl()).slots;
  for (Slot& slot : slots) slot.offset = 0;
  const auto broken = [&] { Painter(plan).run(); };
  ::testing::TestPartResultArray failures;
  {
    const ::testing::ScopedFakeTestPartResultReporter reporter(
        ::testing::ScopedFakeTestPartResultReporter::INTERCEPT_ONLY_CURRENT_THREAD, &failures);
    broken();
  }
  EXPECT_GT(failures.size(), 0);
}

TEST(Planner, AChainOfLayersNeedsTwoBuffers) {
  ParameterStore store;
  Graph g;
  Value x = g.input("x", {DType::kF32, {16, 16}});
  for (int i = 0; i < 6; ++i) {
    const auto name = "w" + std::to_string(i);
    const int32_t index = store.declare(name, {16, 16}, ParameterGroup::kMatrix);
    x = linear(g, x, g.parameter(name, index, {DType::kF32, {16, 16}}));
  }
  g.name_output("y", x);
  const Plan plan(std::move(g), {});
  constexpr size_t kOne = 16 * 16 * sizeof(float);
  EXPECT_EQ(plan.bytes().activations, 3 * kOne) << "the input, and two that take turns";
  EXPECT_EQ(plan.flops(), 6 * 2.0 * 16 * 16 * 16);
}

TEST(Planner, GradientOfLogitsTakesTheirPlaceUnlessTheyAreAskedFor) {
  ParameterStore store;
  Graph g;
  const Value x = g.input("x", {DType::kF32, {8, 4}});
  const int32_t index = store.declare("w", {1000, 4}, ParameterGroup::kMatrix);
  const Value logits = linear(g, x, g.parameter("w", index, {DType::kF32, {1000, 4}}));
  const Value targets = g.input("targets", {DType::kI32, {8}});
  const Value weight = g.input("weight", {DType::kF32, {1}});
  g.name_output("loss", cross_entropy(g, logits, targets, weight).loss);
  constexpr size_t kTwice = 2 * 8 * 1000 * sizeof(float);
  EXPECT_LT(Plan(g, {.backward = true}).bytes().activations, kTwice);
  g.name_output("logits", logits);
  const Plan plan(std::move(g), {.backward = true});
  EXPECT_GE(plan.bytes().activations, kTwice);
  Painter(plan).run();
}

TEST(Planner, LossAndGradientAreOneStepWhereNothingComesBetween) {
  for (const bool between : {false, true}) {
    ParameterStore store;
    Graph g;
    const Value x = g.input("x", {DType::kF32, {8, 4}});
    const int32_t index = store.declare("w", {10, 4}, ParameterGroup::kMatrix);
    const Value logits = linear(g, x, g.parameter("w", index, {DType::kF32, {10, 4}}));
    const Value targets = g.input("targets", {DType::kI32, {8}});
    const Value weight = g.input("weight", {DType::kF32, {1}});
    const CrossEntropyOutputs made = cross_entropy(g, logits, targets, weight);
    g.name_output("nll", made.nll);
    g.name_output("loss", between ? scale(g, made.loss, 2) : made.loss);
    EXPECT_FALSE(Plan(g, {}).impl().steps.back().both);
    const Plan plan(std::move(g), {.backward = true});
    const auto& steps = plan.impl().steps;
    EXPECT_EQ(std::any_of(steps.begin(), steps.end(), [](const auto& step) { return step.both; }),
              !between);
    EXPECT_EQ(steps.size(), between ? 6U : 3U);
    Painter(plan).run();
  }
}

TEST(Planner, InferenceTakesLessThanTraining) {
  ParameterStore store;
  const Decoder decoder = make_decoder(store, 4, 2, 16);
  const Plan inference(decoder.graph, {});
  const Plan training(decoder.graph, {.backward = true});
  EXPECT_LT(2 * inference.bytes().activations, training.bytes().activations);
  EXPECT_GT(training.flops(), 2.9 * inference.flops());
  EXPECT_LE(training.flops(), 3.0 * inference.flops());
}

TEST(Planner, RefusesAGradientThatCannotPass) {
  Graph g;
  ParameterStore store;
  const int32_t index = store.declare("table", {5, 6}, ParameterGroup::kMatrix);
  const Value qkv = g.input("qkv", {DType::kF32, {1, 5, 18}});
  const Value table = g.parameter("table", index, {DType::kF32, {5, 6}});
  const Value y = rope(g, qkv, table, {}, {1, 1, 6});
  const Value targets = g.input("targets", {DType::kI32, {1, 5}});
  const Value weight = g.input("weight", {DType::kF32, {1}});
  g.name_output("loss", cross_entropy(g, y, targets, weight).loss);
  try {
    const Plan plan(g, {.backward = true});
    FAIL() << "a gradient of a rope table";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "not_differentiable");
    EXPECT_STREQ(error.what(), "rope gives its input table no gradient");
  }
  EXPECT_THROW(Plan(g, {.observe = {{3, Tap::kResidual, {}, {}}}}), Error);
}

TEST(Graph, ShapeErrorsTeach) {
  Graph g;
  ParameterStore store;
  const int32_t index = store.declare("w", {32, 63}, ParameterGroup::kMatrix);
  const Value x = g.input("x", {DType::kF32, {8, 64}});
  const Value w = g.parameter("w", index, {DType::kF32, {32, 63}});
  g.set_layer(3);
  try {
    linear(g, x, w);
    FAIL();
  } catch (const ShapeError& error) {
    EXPECT_STREQ(error.what(),
                 "layer 3: linear: x (8, 64) F32, weight (32, 63) F32: the last extent of x must "
                 "equal the last extent of weight");
    EXPECT_FALSE(error.hint().empty());
  }
  EXPECT_THROW(linear(g, x, {}), ShapeError);
  EXPECT_THROW(static_cast<void>(g.output("logits")), Error);
  EXPECT_THROW(g.input("x", {DType::kF32, {8, 64}}), Error);
  EXPECT_EQ(g.parameter("w", index, {DType::kF32, {32, 63}}), w);
}

}  // namespace
}  // namespace quern::graph::testing
