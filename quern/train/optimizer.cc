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

/// What the graph steps over: a whole group, or one matrix.
struct Part {
  std::string name;
  size_t begin;
  Shape shape;
  ParameterGroup group;
  bool muon;

  size_t count() const { return static_cast<size_t>(shape.elements()); }
};

std::vector<Part> parts_of(const OptimizerOptions& options,
                           const graph::ParameterStore& parameters) {
  std::vector<Part> parts;
  for (const auto& [group, name] : kGroups) {
    if (options.muon && group == ParameterGroup::kMatrix) {
      for (const graph::ParameterInfo& info : parameters.parameters()) {
        if (info.group != group) continue;
        parts.push_back({info.name, info.offset, info.shape, group, true});
      }
      continue;
    }
    const auto range = parameters.group(group);
    if (range.end == range.begin) continue;
    parts.push_back({std::string(name), range.begin,
                     Shape{static_cast<int64_t>(range.end - range.begin)}, group, false});
  }
  return parts;
}

graph::Graph trace_step(const OptimizerOptions& options, const graph::ParameterStore& parameters) {
  graph::Graph g;
  const TensorType hyper_type = vector_type(graph::kHyperCount);
  const Value hyper = g.input("hyper", hyper_type);
  const Value gradients = g.gradient("gradients", -1, vector_type(parameters.arena_floats()));
  const std::array<Value, 1> norm_inputs = {gradients};
  const Value norm = g.add(graph::OpCode::kGradientNorm, {}, norm_inputs);
  g.name_output("norm", norm);
  for (const Part& part : parts_of(options, parameters)) {
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
  if (options.ema > 0) {
    const TensorType type = vector_type(parameters.arena_floats());
    const std::array<Value, 3> inputs = {g.state("value", type), g.state("average", type), hyper};
    g.add(graph::OpCode::kEma, graph::OptimizerAttrs{}, inputs);
  }
  return g;
}

void bind(const OptimizerOptions& options, const graph::ParameterStore& parameters,
          graph::StateStore& states) {
  for (const Part& part : parts_of(options, parameters)) {
    states.bind("value." + part.name,
                view_of(parameters.values().subspan(part.begin, part.count()), part.shape));
    states.bind("gradient." + part.name,
                view_of(parameters.gradients().subspan(part.begin, part.count()), part.shape));
  }
  const std::span<float> all = parameters.values();
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

Optimizer::Optimizer(const OptimizerOptions& options, graph::ParameterStore& parameters,
                     ThreadPool& pool)
    : options_(options), parameters_(parameters) {
  bind(options_, parameters_, states_);
  executor_ = std::make_unique<graph::Executor>(
      graph::Plan(trace_step(options_, parameters_), graph::PlanOptions{}), parameters_, states_,
      pool);
  if (averages()) reset_average();
}

Optimizer::~Optimizer() = default;

void Optimizer::step(int64_t step, double learning_rate) {
  write_hyper(executor_->input("hyper"), options_, step, learning_rate);
  executor_->run();
}

float Optimizer::gradient_norm() const { return *executor_->output("norm").f32(); }

void Optimizer::swap_average() {
  const std::span<float> average = states_.entries().at("average").view.f32_span();
  std::swap_ranges(average.begin(), average.end(), parameters_.values().begin());
}

void Optimizer::reset_average() {
  const std::span<float> values = parameters_.values();
  std::copy(values.begin(), values.end(), states_.entries().at("average").view.f32_span().begin());
}

std::vector<Optimizer::State> Optimizer::states() const {
  std::vector<State> states;
  for (const auto& [name, entry] : states_.entries()) {
    if (entry.buffer.size() == 0) continue;  // bound: the store's own values and gradients
    states.push_back({name, entry.view.f32_span()});
  }
  return states;
}

size_t Optimizer::allocated_bytes() const {
  return states_.allocated_bytes() + executor_->allocated_bytes();
}

size_t Optimizer::planned_bytes(const OptimizerOptions& options,
                                const graph::ParameterStore& parameters, DeviceKind device) {
  size_t bytes =
      graph::Plan(trace_step(options, parameters), graph::PlanOptions{}).bytes(device).total();
  for (const Part& part : parts_of(options, parameters)) {
    bytes += part.count() * sizeof(float) * (part.muon ? 1 : 2);
  }
  if (options.ema > 0) bytes += parameters.arena_floats() * sizeof(float);
  return bytes;
}

}  // namespace quern::train
