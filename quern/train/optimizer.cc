#include "quern/train/optimizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "quern/base/error.h"

namespace quern::train {
namespace {

using graph::ParameterGroup;
using graph::Value;

struct GroupName {
  ParameterGroup group;
  std::string_view name;
};
constexpr std::array<GroupName, 3> kGroups = {{{ParameterGroup::kMatrix, "matrix"},
                                               {ParameterGroup::kEmbedding, "embedding"},
                                               {ParameterGroup::kVector, "vector"}}};

TensorType vector_type(size_t count) { return {DType::kF32, Shape{static_cast<int64_t>(count)}}; }

TensorView view_of(std::span<float> values, const Shape& shape) {
  return {reinterpret_cast<std::byte*>(values.data()), {DType::kF32, shape}};
}

/// What the graph steps over: a group or one matrix, as far as it is owned.
struct Part {
  std::string name;
  Shards::Range whole, owned;  // floats of the arena
  Shape shape;                 // of what is owned
  ParameterGroup group;
  bool muon;

  size_t count() const { return owned.end - owned.begin; }
};

/// The same list, by name, for every share; of some parts nothing may be owned.
std::vector<Part> parts_of(const OptimizerOptions& options, const OptimizerShare& share,
                           const graph::ParameterStore& parameters) {
  std::vector<Part> parts;
  for (const auto& [group, name] : kGroups) {
    if (options.muon && group == ParameterGroup::kMatrix) {
      for (const graph::ParameterInfo& info : parameters.parameters()) {
        if (info.group != group) continue;
        const auto count = static_cast<size_t>(info.shape.elements());
        const Shards::Range whole{info.offset, info.offset + count};
        parts.push_back({info.name, whole, common(whole, share.owned), info.shape, group, true});
      }
      continue;
    }
    const auto range = parameters.group(group);
    if (range.end == range.begin) continue;
    const auto owned = common(range, share.owned);
    parts.push_back({std::string(name), range, owned,
                     Shape{static_cast<int64_t>(owned.end - owned.begin)}, group, false});
  }
  return parts;
}

graph::Graph trace_step(const OptimizerOptions& options, const OptimizerShare& share,
                        const graph::ParameterStore& parameters) {
  graph::Graph g;
  const TensorType hyper_type = vector_type(graph::kHyperCount);
  const Value hyper = g.input("hyper", hyper_type);
  Value norm;
  if (share.norm_given) {
    norm = g.input("norm", vector_type(1));
  } else {
    const Value gradients = g.gradient("gradients", -1, vector_type(parameters.arena_floats()));
    norm = g.add(graph::OpCode::kGradientNorm, {}, std::array<Value, 1>{gradients});
    g.name_output("norm", norm);
  }
  for (const Part& part : parts_of(options, share, parameters)) {
    if (part.count() == 0) continue;
    const TensorType type{DType::kF32, part.shape};
    const Value value = g.state("value." + part.name, type);
    const Value gradient = g.state("gradient." + part.name, type);
    graph::OptimizerAttrs attrs;
    attrs.weight_decay = part.group == ParameterGroup::kVector ? 0 : options.weight_decay;
    if (part.muon) {
      attrs.momentum = options.muon_momentum;
      const std::array<Value, 5> inputs = {value, gradient, g.state("momentum." + part.name, type),
                                           hyper, norm};
      g.add(graph::OpCode::kMuon, attrs, inputs);
    } else {
      const std::array<Value, 6> inputs = {
          value, gradient, g.state("m." + part.name, type), g.state("v." + part.name, type),
          hyper, norm};
      g.add(graph::OpCode::kAdamW, attrs, inputs);
    }
  }
  if (options.ema > 0 && share.owned.end > share.owned.begin) {
    const TensorType type = vector_type(share.owned.end - share.owned.begin);
    const std::array<Value, 3> inputs = {g.state("value", type), g.state("average", type), hyper};
    g.add(graph::OpCode::kEma, graph::OptimizerAttrs{}, inputs);
  }
  return g;
}

void bind(const OptimizerOptions& options, const OptimizerShare& share,
          const graph::ParameterStore& parameters, graph::StateStore& states) {
  for (const Part& part : parts_of(options, share, parameters)) {
    if (part.count() == 0) continue;
    states.bind("value." + part.name,
                view_of(parameters.values().subspan(part.owned.begin, part.count()), part.shape));
    states.bind(
        "gradient." + part.name,
        view_of(parameters.gradients().subspan(part.owned.begin, part.count()), part.shape));
  }
  const std::span<float> all =
      parameters.values().subspan(share.owned.begin, share.owned.end - share.owned.begin);
  states.bind("value", view_of(all, Shape{static_cast<int64_t>(all.size())}));
}

void write_hyper(TensorView hyper, const OptimizerOptions& options, int64_t step, double rate) {
  const auto steps = static_cast<double>(step + 1);
  float* values = hyper.f32();
  values[graph::kLearningRate] = static_cast<float>(rate);
  values[graph::kBeta1] = options.beta1;
  values[graph::kBeta2] = options.beta2;
  values[graph::kEpsilon] = options.epsilon;
  values[graph::kCorrection1] =
      static_cast<float>(1 - std::pow(static_cast<double>(options.beta1), steps));
  values[graph::kCorrection2] =
      static_cast<float>(1 - std::pow(static_cast<double>(options.beta2), steps));
  values[graph::kClip] = options.clip;
  // Early on the average reaches no further back than training does.
  const auto done = static_cast<float>(step);
  values[graph::kEmaDecay] = std::min(options.ema, (1 + done) / (10 + done));
}

}  // namespace

Optimizer::Optimizer(const OptimizerOptions& options, const OptimizerShare& share,
                     graph::ParameterStore& parameters, ThreadPool& pool)
    : options_(options), share_(share), parameters_(parameters) {
  bind(options_, share_, parameters_, states_);
  executor_ = std::make_unique<graph::Executor>(
      graph::Plan(trace_step(options_, share_, parameters_), graph::PlanOptions{}), parameters_,
      states_, pool);
  if (averages()) reset_average();
}

Optimizer::~Optimizer() = default;

void Optimizer::step(int64_t step, double learning_rate, float norm) {
  write_hyper(executor_->input("hyper"), options_, step, learning_rate);
  if (share_.norm_given) *executor_->input("norm").f32() = norm;
  executor_->run();
}

float Optimizer::gradient_norm() const {
  return *(share_.norm_given ? executor_->input("norm") : executor_->output("norm")).f32();
}

std::span<float> Optimizer::owned_values() const {
  return parameters_.values().subspan(share_.owned.begin, share_.owned.end - share_.owned.begin);
}

std::span<float> Optimizer::state(const std::string& name) const {
  const auto found = states_.entries().find(name);
  return found == states_.entries().end() ? std::span<float>() : found->second.view.f32_span();
}

void Optimizer::swap_average() {
  const std::span<float> average = state("average");
  std::swap_ranges(average.begin(), average.end(), owned_values().begin());
}

void Optimizer::reset_average() {
  const std::span<float> values = owned_values();
  std::copy(values.begin(), values.end(), state("average").begin());
}

std::vector<Optimizer::State> Optimizer::states() const {
  std::vector<State> states;
  const auto add = [&](const std::string& name, Shards::Range whole, Shards::Range owned) {
    const size_t begin = owned.end > owned.begin ? owned.begin - whole.begin : 0;
    states.push_back({name, whole.end - whole.begin, begin, state(name)});
  };
  for (const Part& part : parts_of(options_, share_, parameters_)) {
    if (part.muon) {
      add("momentum." + part.name, part.whole, part.owned);
    } else {
      add("m." + part.name, part.whole, part.owned);
      add("v." + part.name, part.whole, part.owned);
    }
  }
  if (averages()) add("average", {0, parameters_.arena_floats()}, share_.owned);
  return states;
}

size_t Optimizer::allocated_bytes() const {
  return states_.allocated_bytes() + executor_->allocated_bytes();
}

size_t Optimizer::planned_bytes(const OptimizerOptions& options, const OptimizerShare& share,
                                const graph::ParameterStore& parameters, DeviceKind device) {
  size_t bytes = graph::Plan(trace_step(options, share, parameters), graph::PlanOptions{})
                     .bytes(device)
                     .total();
  for (const Part& part : parts_of(options, share, parameters))
    bytes += part.count() * sizeof(float) * (part.muon ? 1 : 2);
  if (options.ema > 0) bytes += (share.owned.end - share.owned.begin) * sizeof(float);
  return bytes;
}

}  // namespace quern::train
