#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstring>

#include "quern/graph/ops/attention.h"
#include "quern/graph/plan_impl.h"
#include "quern/kernels/cpu/attention.h"
#include "quern/kernels/cpu/elementwise.h"
#include "quern/kernels/cpu/movement.h"
#include "quern/tensor/buffer.h"

namespace quern::graph {
namespace {

using Kind = Location::Kind;

/// One step with every view and address in it.
struct Step {
  void (*kernel)(const KernelCall&) = nullptr;
  const PlannedStep* planned = nullptr;
  std::vector<TensorView> inputs, outputs, output_grads, input_grads;
  std::array<bool, kMaxInputs> accumulate{};
  struct Transfer {
    TensorView from, to;
  };
  std::vector<Transfer> keeps, adds;
  KernelCall call;
};

}  // namespace

struct Executor::Impl {
  Impl(Plan plan, ParameterStore& parameters, StateStore& states, ThreadPool& pool)
      : plan_(std::move(plan)),
        p_(plan_.impl()),
        parameters_(parameters),
        states_(states),
        context_{pool},
        activations_(p_.bytes.activations),
        scratch_(p_.bytes.scratch),
        constants_(p_.bytes.constants) {
    bind();
    build();
    for (size_t i = 0; i < p_.graph.values().size(); ++i) {
      const ValueInfo& info = p_.graph.values()[i];
      if (info.kind == ValueKind::kConstant && info.fill)
        info.fill(view(p_.values[i], Value{static_cast<int32_t>(i)}));
    }
  }

  /// Finds each parameter by its name, each state by its name, and checks their types.
  void bind() {
    const Graph& graph = p_.graph;
    parameter_index_.assign(graph.values().size(), -1);
    state_data_.assign(graph.values().size(), nullptr);
    std::vector<bool> written(parameters_.parameters().size(), false);
    for (size_t i = 0; i < graph.values().size(); ++i) {
      const ValueInfo& info = graph.values()[i];
      if (info.kind == ValueKind::kState) state_data_[i] = states_.get(info.name, info.type).data;
      if (info.kind == ValueKind::kGradient) require_gradients();
      if (info.kind == ValueKind::kGradient && info.parameter < 0) {
        check_shape(info, Shape{static_cast<int64_t>(parameters_.arena_floats())});
      } else if (info.kind == ValueKind::kParameter || info.kind == ValueKind::kGradient) {
        const int32_t index = find_parameter(info);
        parameter_index_[i] = index;
        if (p_.parameter_written[i]) written[static_cast<size_t>(index)] = true;
      }
    }
    if (!p_.options.backward || !p_.options.parameter_gradients) return;
    require_gradients();
    for (size_t i = 0; i < written.size(); ++i) {
      if (!written[i]) unwritten_.push_back(parameters_.gradient(static_cast<int32_t>(i)));
    }
  }

  void require_gradients() const {
    if (!parameters_.gradients().empty() || parameters_.parameters().empty()) return;
    throw Error("not_allocated", "the parameter store has no gradients",
                "call ParameterStore::allocate_gradients() before training");
  }

  static void check_shape(const ValueInfo& info, const Shape& shape) {
    if (shape == info.type.shape) return;
    throw ShapeError(fmt::format("parameter {} is {} in the store, {} in the graph", info.name,
                                 shape.to_string(), info.type.shape.to_string()),
                     "trace the graph with the configuration that the store was declared with");
  }

  int32_t find_parameter(const ValueInfo& info) const {
    const int32_t index = parameters_.find(info.name);
    if (index < 0) {
      throw Error("missing_parameter",
                  fmt::format("the store has no parameter {}, which the graph reads", info.name),
                  "declare the model's parameters in the store that the executor is given");
    }
    const Shape& shape = parameters_.parameters()[static_cast<size_t>(index)].shape;
    check_shape(info, shape);
    if (parameters_.value(index).data == nullptr && shape.elements() > 0) {
      throw Error("not_allocated", fmt::format("parameter {} has no memory yet", info.name),
                  "call ParameterStore::allocate() first");
    }
    return index;
  }

  TensorView view(Location place, Value value) const {
    TensorView view{nullptr, value ? p_.graph.type(value) : TensorType{DType::kBool, {}}};
    const auto index = static_cast<size_t>(place.index);
    switch (place.kind) {
      case Kind::kNone:
        break;
      case Kind::kSlot:
        view.data = activations_.data() + p_.slots[index].offset;
        break;
      case Kind::kConstant:
        view.data = constants_.data() + p_.constant_offsets[index];
        break;
      case Kind::kParameter:
        view.data = parameters_.value(parameter_index_[index]).data;
        break;
      case Kind::kParameterGradient:
        // A kGradient of no single parameter is the whole arena.
        view.data = parameter_index_[index] < 0
                        ? reinterpret_cast<std::byte*>(parameters_.gradients().data())
                        : parameters_.gradient(parameter_index_[index]).data;
        break;
      case Kind::kState:
        view.data = state_data_[index];
        break;
    }
    return view;
  }

  std::vector<TensorView> views(std::span<const Location> places,
                                std::span<const Value> values) const {
    std::vector<TensorView> result;
    for (size_t i = 0; i < places.size(); ++i) result.push_back(view(places[i], values[i]));
    return result;
  }

  void build() {
    steps_.resize(p_.steps.size());
    for (size_t i = 0; i < steps_.size(); ++i) {
      const PlannedStep& planned = p_.steps[i];
      const Node& node = p_.graph.nodes()[static_cast<size_t>(planned.node)];
      const OpEntry& entry = op_entry(node.op);
      Step& step = steps_[i];
      step.planned = &planned;
      step.inputs = views(planned.inputs, node.inputs);
      step.outputs = views(planned.outputs, node.outputs);
      step.output_grads = views(planned.output_grads, node.outputs);
      step.input_grads = views(planned.input_grads, node.inputs);
      step.accumulate = planned.accumulate;
      const auto transfers = [&](const std::vector<PlannedStep::Transfer>& list) {
        std::vector<Step::Transfer> result;
        for (const auto& t : list) result.push_back({view(t.from, t.value), view(t.to, t.value)});
        return result;
      };
      step.keeps = transfers(planned.keeps);
      step.adds = transfers(planned.adds);
      if (planned.backward) {
        step.kernel = p_.options.reference ? entry.reference_backward : entry.backward;
      } else {
        step.kernel = p_.options.reference ? entry.reference_forward : entry.forward;
      }
      step.call.attrs = &node.attrs;
      step.call.inputs = step.inputs;
      step.call.outputs = step.outputs;
      step.call.output_grads = step.output_grads;
      step.call.input_grads = step.input_grads;
      step.call.accumulate = step.accumulate;
      step.call.scratch = scratch_.data();
      step.call.context = &context_;
    }
  }

  void run(bool accumulate) {
    if (!accumulate) {
      for (const TensorView& gradient : unwritten_)
        kernels::cpu::fill_zero(context_, gradient.f32(), gradient.elements());
    }
    for (size_t i = 0; i < steps_.size(); ++i) {
      Step& step = steps_[i];
      if (static_cast<int32_t>(i) == p_.first_backward && p_.seed)
        *reinterpret_cast<float*>(view(p_.seed, {}).data) = 1;
      for (const Step::Transfer& keep : step.keeps)
        std::memcpy(keep.to.data, keep.from.data, keep.to.type.bytes());
      for (uint32_t bits = step.planned->first_parameter_gradients; bits != 0; bits &= bits - 1)
        step.accumulate[static_cast<size_t>(std::countr_zero(bits))] = accumulate;
      step.kernel(step.call);
      for (const Step::Transfer& add : step.adds)
        kernels::cpu::scale(context_, add.from.f32(), add.from.elements(), 1, add.to.f32(), true);
      if (p_.options.trace_nan) check_nan(step);
      for (const size_t observation : step.planned->observations) observe(step, observation);
    }
  }

  void observe(const Step& step, size_t index) const {
    const Observation& observation = p_.options.observe[index];
    if (observation.tap == Tap::kResidual) {
      for (const TapPoint& tap : p_.graph.taps()) {
        if (tap.tap != Tap::kResidual || tap.layer != observation.layer) continue;
        const auto value = static_cast<size_t>(tap.value.id);
        observation.observe(tap.layer, -1, -1, view(p_.values[value], tap.value));
        return;
      }
    }
    const kernels::cpu::Attention attention = ops::attention_arguments(step.call);
    TensorView weights{scratch_.data(),
                       {DType::kF32, Shape{attention.queries, attention.capacity}}};
    const auto one = [&](int64_t batch, int64_t head) {
      kernels::cpu::attention_weights(attention, step.outputs[1].f32(), batch, head, weights.f32());
      observation.observe(observation.layer, batch, head, weights);
    };
    for (int64_t batch = 0; batch < attention.batch; ++batch) {
      if (observation.heads.empty()) {
        for (int64_t head = 0; head < attention.heads; ++head) one(batch, head);
      }
      for (const int head : observation.heads) one(batch, head);
    }
  }

  void check_nan(const Step& step) const {
    const bool backward = step.planned->backward;
    const std::span<const TensorView> written = backward ? step.input_grads : step.outputs;
    for (size_t i = 0; i < written.size(); ++i) {
      const TensorView& tensor = written[i];
      if (!tensor || tensor.type.dtype != DType::kF32) continue;
      for (const float value : tensor.f32_span()) {
        if (std::isnan(value)) throw_nan(step, i);
      }
    }
  }

  std::string describe(Value value) const {
    const ValueInfo& info = p_.graph.info(value);
    std::string name = info.name;
    if (info.kind == ValueKind::kComputed) {
      const Node& parent = p_.graph.nodes()[static_cast<size_t>(info.node)];
      name = op_entry(parent.op).name;
      if (parent.layer >= 0) name += fmt::format(" of layer {}", parent.layer);
    }
    return fmt::format("{} {}", name, info.type.shape.to_string());
  }

  [[noreturn]] void throw_nan(const Step& step, size_t index) const {
    const Node& node = p_.graph.nodes()[static_cast<size_t>(step.planned->node)];
    const OpEntry& entry = op_entry(node.op);
    std::string parents;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (!node.inputs[i]) continue;
      parents += fmt::format("{}{}: {}", parents.empty() ? "" : ", ", entry.input_names[i],
                             describe(node.inputs[i]));
    }
    const std::string what = step.planned->backward ? fmt::format("the gradient of {} in backward",
                                                                  entry.input_names[index])
                                                    : fmt::format("output {}", index);
    const std::string layer = node.layer < 0 ? "" : fmt::format(" (layer {})", node.layer);
    throw Error("nan",
                fmt::format("the first NaN is in {} of {}{}; its inputs: {}", what, entry.name,
                            layer, parents),
                "lower the learning rate, clip the gradient, or look at what these inputs hold");
  }

  Plan plan_;
  const Plan::Impl& p_;
  ParameterStore& parameters_;
  StateStore& states_;
  kernels::cpu::Context context_;
  Buffer activations_, scratch_, constants_;
  std::vector<int32_t> parameter_index_;  // per value
  std::vector<std::byte*> state_data_;    // per value
  std::vector<TensorView> unwritten_;     // gradients that no step writes: zero
  std::vector<Step> steps_;
};

Executor::Executor(Plan plan, ParameterStore& parameters, StateStore& states, ThreadPool& pool)
    : impl_(std::make_unique<Impl>(std::move(plan), parameters, states, pool)) {}
Executor::~Executor() = default;
Executor::Executor(Executor&&) noexcept = default;

TensorView Executor::input(std::string_view name) const {
  const Value value = impl_->p_.graph.input(name);
  return impl_->view(impl_->p_.values[static_cast<size_t>(value.id)], value);
}

TensorView Executor::output(std::string_view name) const {
  const Value value = impl_->p_.graph.output(name);
  return impl_->view(impl_->p_.values[static_cast<size_t>(value.id)], value);
}

TensorView Executor::gradient(Value value) const {
  const Location place = impl_->p_.gradients.at(static_cast<size_t>(value.id));
  if (!place) {
    throw Error("no_gradient",
                fmt::format("the gradient of {} is not kept", impl_->describe(value)),
                "name the value in PlanOptions::wrt");
  }
  return impl_->view(place, value);
}

void Executor::run(bool accumulate) { impl_->run(accumulate); }
const Plan& Executor::plan() const { return impl_->plan_; }
size_t Executor::allocated_bytes() const {
  return impl_->activations_.size() + impl_->scratch_.size() + impl_->constants_.size();
}

}  // namespace quern::graph
