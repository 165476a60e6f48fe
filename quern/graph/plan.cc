#include "quern/graph/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <map>
#include <string_view>

#include "quern/graph/plan_impl.h"
#include "quern/graph/recompute.h"
#include "quern/tensor/buffer.h"

namespace quern::graph {
namespace {

using Kind = Location::Kind;

bool is_float(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF64 || dtype == DType::kF16 ||
         dtype == DType::kBF16;
}

uint32_t required_outputs(const Node& node) {
  const OpEntry& entry = op_entry(node.op);
  if (entry.required_outputs == nullptr) return 1;
  return entry.required_outputs(node.attrs, present_inputs(node));
}

bool appears_once(const Node& node, Value value) {
  return std::count(node.inputs.begin(), node.inputs.end(), value) == 1;
}

std::string describe(const Node& node) {
  const std::string_view name = op_entry(node.op).name;
  return node.layer < 0 ? std::string(name) : fmt::format("{} of layer {}", name, node.layer);
}

class Planner {
 public:
  explicit Planner(Plan::Impl& plan) : p_(plan), g_(plan.graph), o_(plan.options) {}

  void run() {
    const size_t count = g_.values().size();
    p_.values.resize(count);
    p_.gradients.resize(count);
    p_.parameter_written.resize(count, false);
    p_.constant_offsets.resize(count, 0);
    find_parameters();
    last_use_.assign(count, -1);
    gradient_slot_.assign(count, -1);
    again_.resize(count);
    last_again_.assign(count, -1);
    is_again_ = o_.backward && !o_.recompute.empty() ? recomputed_values(g_, o_.recompute)
                                                     : std::vector<bool>(count);
    find_needs();
    order_steps();
    find_uses();
    place_fixed();
    for (PlannedStep& step : p_.steps) {
      if (!step.backward && !step.again) place_forward(step);
    }
    if (o_.backward) {
      seed_loss();
      for (PlannedStep& step : p_.steps) {
        if (step.again) place_again(step);
        if (step.backward) place_backward(step);
      }
    }
    add_observations();
    check_wrt();
    p_.bytes.activations = pack(p_.slots);
    p_.flops += g_.flops();
  }

 private:
  const Node& node_of(const PlannedStep& step) const {
    return g_.nodes()[static_cast<size_t>(step.node)];
  }
  static size_t at(Value value) { return static_cast<size_t>(value.id); }
  int32_t index_of(const PlannedStep& step) const {
    return static_cast<int32_t>(&step - p_.steps.data());
  }
  int32_t end() const { return static_cast<int32_t>(p_.steps.size()); }
  bool wanted(Value value) const {
    return std::find(o_.wrt.begin(), o_.wrt.end(), value) != o_.wrt.end();
  }

  /// A parameter that is read in two types is one when its gradient is written.
  void find_parameters() {
    std::map<std::string_view, size_t> first;
    for (size_t i = 0; i < g_.values().size(); ++i) {
      const ValueInfo& info = g_.values()[i];
      const bool parameter = info.kind == ValueKind::kParameter;
      parameter_of_.push_back(parameter ? first.try_emplace(info.name, i).first->second : i);
    }
  }

  /// Which values lie between a parameter (or a `wrt`) and anything computed from it.
  void find_needs() {
    needs_.assign(g_.values().size(), false);
    if (!o_.backward) return;
    for (size_t i = 0; i < needs_.size(); ++i) {
      const Value value{static_cast<int32_t>(i)};
      const ValueInfo& info = g_.info(value);
      bool needs = wanted(value);
      if (info.kind == ValueKind::kParameter) needs = needs || o_.parameter_gradients;
      if (info.kind == ValueKind::kComputed) {
        for (const Value input : g_.nodes()[static_cast<size_t>(info.node)].inputs)
          needs = needs || (input && needs_[at(input)]);
      }
      needs_[i] = needs && is_float(info.type.dtype);
    }
  }

  /// One forward step a node; one backward step, in reverse, for every node between the loss and
  /// what needs a gradient. The loss's own may be one and the same.
  void order_steps() {
    for (size_t i = 0; i < g_.nodes().size(); ++i) {
      PlannedStep step;
      step.node = static_cast<int32_t>(i);
      p_.steps.push_back(std::move(step));
    }
    p_.first_backward = end();
    producer_backward_.assign(g_.nodes().size(), -1);
    if (!o_.backward) return;
    const Value loss = g_.output("loss");
    if (g_.type(loss) != TensorType{DType::kF32, Shape{1}}) {
      throw ShapeError(fmt::format("the output \"loss\" is {}, backward starts from (1)",
                                   g_.shape(loss).to_string()),
                       "reduce it to one number");
    }
    if (!needs_[at(loss)]) {
      throw Error("no_gradient", "the loss depends on no parameter, nor on what is differentiated",
                  "ask for parameter gradients, or name values in wrt");
    }
    std::vector<bool> reached(g_.values().size(), false);
    reached[at(loss)] = true;
    for (size_t i = g_.nodes().size(); i-- > 0;) {
      const Node& node = g_.nodes()[i];
      uint32_t arriving = 0;
      for (size_t k = 0; k < node.outputs.size(); ++k)
        arriving |= reached[at(node.outputs[k])] ? 1U << k : 0U;
      uint32_t needing = 0;
      for (size_t k = 0; k < node.inputs.size(); ++k)
        needing |= node.inputs[k] && needs_[at(node.inputs[k])] ? 1U << k : 0U;
      if (arriving == 0 || needing == 0) continue;
      check_differentiable(node, arriving, needing);
      for (const Value input : node.inputs) {
        if (input && needs_[at(input)]) reached[at(input)] = true;
      }
      if (runs_both(i, arriving)) {
        p_.steps[i].backward = p_.steps[i].both = true;
        p_.first_backward = producer_backward_[i] = static_cast<int32_t>(i);
        continue;
      }
      run_again(node.layer);
      PlannedStep step;
      step.node = static_cast<int32_t>(i);
      step.backward = true;
      producer_backward_[i] = end();
      p_.steps.push_back(std::move(step));
    }
  }

  /// Whether the loss and its gradient come from one kernel: where the loss is made last, its
  /// backward comes next, and what it is made of has no other gradient yet.
  bool runs_both(size_t i, uint32_t arriving) const {
    const Node& node = g_.nodes()[i];
    const OpEntry& entry = op_entry(node.op);
    if (entry.forward_backward == nullptr || i + 1 != g_.nodes().size() || arriving != 1)
      return false;
    const Value input = node.inputs[static_cast<size_t>(entry.in_place_gradient)];
    return g_.info(input).kind == ValueKind::kComputed && !is_again_[at(input)];
  }

  bool makes_again(const Node& node) const {
    return std::any_of(node.outputs.begin(), node.outputs.end(),
                       [&](Value output) { return is_again_[at(output)]; });
  }

  /// Before the first backward step of a layer: the forward steps that make again what it reads.
  void run_again(int32_t layer) {
    if (layer < 0 ||
        std::find(again_layers_.begin(), again_layers_.end(), layer) != again_layers_.end()) {
      return;
    }
    again_layers_.push_back(layer);
    for (size_t i = 0; i < g_.nodes().size(); ++i) {
      const Node& node = g_.nodes()[i];
      if (node.layer != layer || !makes_again(node)) continue;
      PlannedStep step;
      step.node = static_cast<int32_t>(i);
      step.again = true;
      p_.steps.push_back(std::move(step));
    }
  }

  static void check_differentiable(const Node& node, uint32_t arriving, uint32_t needing) {
    const OpEntry& entry = op_entry(node.op);
    if (entry.backward == nullptr) {
      throw Error("not_differentiable", fmt::format("{} has no gradient", describe(node)),
                  "keep it off the way from the parameters to the loss");
    }
    const uint32_t inputs = entry.differentiable_inputs(node.attrs, present_inputs(node));
    if (const uint32_t barred = needing & ~inputs; barred != 0) {
      const auto first = static_cast<size_t>(std::countr_zero(barred));
      throw Error("not_differentiable",
                  fmt::format("{} gives its input {} no gradient", describe(node),
                              entry.input_names[first]),
                  "keep that input off the way from the parameters to the loss");
    }
    if (const uint32_t barred = arriving & ~entry.differentiable_outputs; barred != 0) {
      throw Error("not_differentiable",
                  fmt::format("{} takes no gradient from its output {}", describe(node),
                              std::countr_zero(barred)),
                  "keep that output off the way from the parameters to the loss");
    }
  }

  void use(Value value, int32_t step) {
    last_use_[at(value)] = std::max(last_use_[at(value)], step);
  }

  /// What a step of backward reads for a layer: as made again, where it is, else as kept.
  bool reads_again(Value value, const Node& reader) const {
    if (!is_again_[at(value)]) return false;
    return g_.nodes()[static_cast<size_t>(g_.info(value).node)].layer == reader.layer;
  }
  void use_in_backward(Value value, const Node& reader, int32_t step) {
    if (reads_again(value, reader)) {
      last_again_[at(value)] = std::max(last_again_[at(value)], step);
    } else {
      use(value, step);
    }
  }
  Location place_in_backward(Value value, const Node& reader) const {
    return reads_again(value, reader) ? again_[at(value)] : p_.values[at(value)];
  }
  int32_t last_in_backward(Value value, const Node& reader) const {
    return reads_again(value, reader) ? last_again_[at(value)] : last_use_[at(value)];
  }

  /// The last step that reads each value: forward as an input, backward where the op saves it.
  void find_uses() {
    for (const PlannedStep& step : p_.steps) {
      const Node& node = node_of(step);
      const int32_t index = index_of(step);
      if (!step.backward || step.both) {
        for (const Value input : node.inputs) {
          if (!input) continue;
          if (step.again) {
            use_in_backward(input, node, index);
          } else {
            use(input, index);
          }
        }
        continue;
      }
      const Saved saved = op_entry(node.op).saved(node.attrs, present_inputs(node));
      for (size_t i = 0; i < node.inputs.size(); ++i) {
        if (node.inputs[i] && (saved.inputs >> i & 1U) != 0)
          use_in_backward(node.inputs[i], node, index);
      }
      for (size_t i = 0; i < node.outputs.size(); ++i) {
        if ((saved.outputs >> i & 1U) != 0) use_in_backward(node.outputs[i], node, index);
      }
    }
    for (const auto& [name, value] : g_.outputs()) use(value, end());
    for (const Observation& observation : o_.observe) {
      const TapPoint& tap = tap_of(observation);
      use(tap.value, tap.node);
      // The weights are recomputed with the log-sum-exp, output 1.
      if (tap.tap == Tap::kAttention) use(g_.output_of(tap.value, 1), tap.node);
    }
    for (size_t i = 0; i < g_.nodes().size(); ++i) {
      const Node& node = g_.nodes()[i];
      const uint32_t required = required_outputs(node);
      for (size_t k = 0; k < node.outputs.size(); ++k) {
        if ((required >> k & 1U) != 0) use(node.outputs[k], static_cast<int32_t>(i));
      }
    }
  }

  const TapPoint& tap_of(const Observation& observation) const {
    std::string known;
    for (const TapPoint& tap : g_.taps()) {
      if (tap.tap != observation.tap) continue;
      if (tap.layer == observation.layer) return tap;
      known += (known.empty() ? "" : ", ") + std::to_string(tap.layer);
    }
    throw Error("unknown_tap",
                fmt::format("layer {} has no {} to observe", observation.layer,
                            observation.tap == Tap::kResidual ? "residual" : "attention"),
                known.empty() ? "the graph has no such tap" : "layers that have one: " + known);
  }

  Location new_slot(size_t bytes, int32_t first, int32_t last) {
    p_.slots.push_back({std::max(Buffer::align(bytes), Buffer::kAlignment), first, last, 0});
    return {Kind::kSlot, static_cast<int32_t>(p_.slots.size()) - 1};
  }
  Slot& slot(Location location) { return p_.slots[static_cast<size_t>(location.index)]; }

  /// What has its place before any step: inputs for the whole run, constants in their own arena.
  void place_fixed() {
    for (size_t i = 0; i < g_.values().size(); ++i) {
      const ValueInfo& info = g_.values()[i];
      const auto id = static_cast<int32_t>(i);
      switch (info.kind) {
        case ValueKind::kInput:
          p_.values[i] = new_slot(info.type.bytes(), 0, end());
          p_.cuda_staging += Buffer::align(info.type.bytes());
          break;
        case ValueKind::kConstant:
          p_.values[i] = {Kind::kConstant, id};
          p_.constant_offsets[i] = p_.bytes.constants;
          p_.bytes.constants += Buffer::align(info.type.bytes());
          break;
        case ValueKind::kParameter:
          p_.values[i] = {Kind::kParameter, id};
          break;
        case ValueKind::kGradient:
          p_.values[i] = {Kind::kParameterGradient, id};
          break;
        case ValueKind::kState:
          p_.values[i] = {Kind::kState, id};
          break;
        case ValueKind::kComputed:
          break;
      }
    }
  }

  void place_forward(PlannedStep& step) {
    const Node& node = node_of(step);
    const OpEntry& entry = op_entry(node.op);
    const int32_t index = index_of(step);
    for (const Value input : node.inputs)
      step.inputs.push_back(input ? p_.values[at(input)] : Location{});
    need_scratch(node, entry.forward_scratch, entry.cuda.forward_scratch);
    place_outputs(step, node, entry, index);
  }

  void place_outputs(PlannedStep& step, const Node& node, const OpEntry& entry, int32_t index) {
    for (size_t k = 0; k < node.outputs.size(); ++k) {
      const Value output = node.outputs[k];
      Location& place = p_.values[at(output)];
      if (last_use_[at(output)] >= 0) {
        if (k == 0) place = reuse_input(node, entry, output, index);
        if (!place) place = new_slot(g_.type(output).bytes(), index, last_use_[at(output)]);
        slot(place).last = std::max(slot(place).last, last_use_[at(output)]);
      }
      step.outputs.push_back(place);
    }
  }

  using Scratch = size_t (*)(const Attrs&, std::span<const TensorType>);
  void need_scratch(const Node& node, Scratch cpu, Scratch cuda) {
    const Types types = input_types(g_, node);
    p_.bytes.scratch = std::max(p_.bytes.scratch, Buffer::align(cpu(node.attrs, types)));
    if (cuda != nullptr)
      p_.cuda_scratch = std::max(p_.cuda_scratch, Buffer::align(cuda(node.attrs, types)));
  }

  /// Outputs that backward does not read again are written where nobody looks, if they must be.
  void place_again(PlannedStep& step) {
    const Node& node = node_of(step);
    const OpEntry& entry = op_entry(node.op);
    const int32_t index = index_of(step);
    for (const Value input : node.inputs)
      step.inputs.push_back(input ? place_in_backward(input, node) : Location{});
    for (size_t k = 0; k < node.outputs.size(); ++k) {
      const Value output = node.outputs[k];
      const bool read = is_again_[at(output)];
      Location place;
      if (read || (required_outputs(node) >> k & 1U) != 0) {
        const int32_t last = read ? std::max(index, last_again_[at(output)]) : index;
        place = new_slot(g_.type(output).bytes(), index, last);
      }
      if (read) again_[at(output)] = place;
      step.outputs.push_back(place);
    }
    need_scratch(node, entry.forward_scratch, entry.cuda.forward_scratch);
    if (entry.flops != nullptr) p_.flops += entry.flops(node.attrs, input_types(g_, node));
  }

  Location reuse_input(const Node& node, const OpEntry& entry, Value output, int32_t index) const {
    const int input = entry.in_place_input;
    if (input < 0 || static_cast<size_t>(input) >= node.inputs.size()) return {};
    const Value value = node.inputs[static_cast<size_t>(input)];
    if (!value || g_.info(value).kind != ValueKind::kComputed || last_use_[at(value)] != index ||
        !appears_once(node, value) || g_.type(value) != g_.type(output)) {
      return {};
    }
    return p_.values[at(value)];
  }

  void seed_loss() {
    const Value loss = g_.output("loss");
    p_.seed = new_slot(sizeof(float), p_.first_backward, gradient_end(loss));
    gradient_slot_[at(loss)] = p_.seed.index;
    p_.cuda_staging += sizeof(float);
  }

  /// The step that reads the whole gradient of a value: its producer's backward, or the caller.
  int32_t gradient_end(Value value) const {
    const int32_t producer = g_.info(value).node;
    const int32_t step = producer < 0 ? -1 : producer_backward_[static_cast<size_t>(producer)];
    return step < 0 ? end() : step;
  }

  void place_backward(PlannedStep& step) {
    const Node& node = node_of(step);
    const OpEntry& entry = op_entry(node.op);
    const int32_t index = index_of(step);
    const uint32_t present = present_inputs(node);
    const Saved saved = entry.saved(node.attrs, present);
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const bool kept = node.inputs[i] && (step.both || (saved.inputs >> i & 1U) != 0);
      step.inputs.push_back(kept ? place_in_backward(node.inputs[i], node) : Location{});
    }
    if (step.both) place_outputs(step, node, entry, index);
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      const Value output = node.outputs[i];
      if (!step.both) {
        step.outputs.push_back((saved.outputs >> i & 1U) != 0 ? place_in_backward(output, node)
                                                              : Location{});
      }
      const int32_t gradient = gradient_slot_[at(output)];
      step.output_grads.push_back(gradient < 0 ? Location{} : Location{Kind::kSlot, gradient});
      // A gradient dies in its producer's backward, which may write over it: copy it out first.
      if (gradient >= 0 && wanted(output)) {
        const Location kept = new_slot(g_.type(output).bytes(), index, end());
        p_.gradients[at(output)] = kept;
        step.keeps.push_back({step.output_grads.back(), kept, output});
      }
    }
    uint32_t written = 0;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const Value input = node.inputs[i];
      const bool wants = input && needs_[at(input)];
      step.input_grads.push_back(wants ? place_gradient(step, node, entry, i) : Location{});
      written |= wants ? 1U << i : 0U;
    }
    if (step.both) {
      need_scratch(node, entry.forward_backward_scratch, entry.cuda.forward_backward_scratch);
    } else {
      need_scratch(node, entry.backward_scratch, entry.cuda.backward_scratch);
    }
    const Types types = input_types(g_, node);
    if (entry.flops != nullptr) {
      // A linear layer makes one product a gradient; attention twice what its forward does.
      const int products = node.op == OpCode::kLinear ? std::popcount(written & 0b11U) : 2;
      p_.flops += products * entry.flops(node.attrs, types);
    }
  }

  /// Where the gradient of input i goes, and whether it adds to what other consumers left there.
  Location place_gradient(PlannedStep& step, const Node& node, const OpEntry& entry, size_t i) {
    const Value input = node.inputs[i];
    const int32_t index = index_of(step);
    const bool parameter = g_.info(input).kind == ValueKind::kParameter;
    const bool overwrites = (entry.overwrites_gradient >> i & 1U) != 0;
    Location place;
    bool first = false;
    if (parameter) {
      place = {Kind::kParameterGradient, input.id};
      p_.gradients[at(input)] = place;
      if (!overwrites) {
        const size_t written = parameter_of_[at(input)];
        first = !p_.parameter_written[written];
        p_.parameter_written[written] = true;
        if (first) step.first_parameter_gradients |= 1U << i;
      }
    } else {
      first = gradient_slot_[at(input)] < 0;
      if (first) {
        place = reuse_for_gradient(step, node, entry, i);
        const int32_t last = gradient_end(input);
        if (!place) place = new_slot(g_.type(input).bytes(), index, last);
        slot(place).last = std::max(slot(place).last, last);
        gradient_slot_[at(input)] = place.index;
        if (last == end()) p_.gradients[at(input)] = place;
      } else {
        place = {Kind::kSlot, gradient_slot_[at(input)]};
      }
    }
    if (!first && overwrites) {
      const Location part = new_slot(g_.type(input).bytes(), index, index);
      step.adds.push_back({part, place, input});
      return part;
    }
    step.accumulate[i] = !first;
    return place;
  }

  Location reuse_for_gradient(const PlannedStep& step, const Node& node, const OpEntry& entry,
                              size_t i) {
    const Value input = node.inputs[i];
    if (!appears_once(node, input)) return {};
    if (entry.in_place_gradient == static_cast<int>(i) &&
        g_.info(input).kind == ValueKind::kComputed &&
        last_in_backward(input, node) == index_of(step)) {
      return place_in_backward(input, node);
    }
    if (entry.gradient_alias == nullptr) return {};
    const GradientAlias alias = entry.gradient_alias(node.attrs, present_inputs(node));
    if (alias.input != static_cast<int>(i)) return {};
    const Value output = node.outputs[static_cast<size_t>(alias.output)];
    if (g_.type(output) != g_.type(input)) return {};
    return step.output_grads[static_cast<size_t>(alias.output)];
  }

  void add_observations() {
    for (size_t i = 0; i < o_.observe.size(); ++i) {
      const TapPoint& tap = tap_of(o_.observe[i]);
      p_.steps[static_cast<size_t>(tap.node)].observations.push_back(i);
      if (tap.tap != Tap::kAttention) continue;
      const Node& node = g_.nodes()[static_cast<size_t>(tap.node)];
      const bool cached = node.inputs.size() > 1 && node.inputs[1];
      const int64_t queries = g_.shape(node.inputs[0])[1];
      const int64_t capacity = cached ? g_.shape(node.inputs[1])[2] : queries;
      p_.bytes.scratch = std::max(
          p_.bytes.scratch, Buffer::align(static_cast<size_t>(queries * capacity) * sizeof(float)));
    }
  }

  void check_wrt() const {
    for (const Value value : o_.wrt) {
      if (!o_.backward) {
        throw Error("no_backward", "gradients are asked for without the backward pass",
                    "set PlanOptions::backward");
      }
      if (p_.gradients[at(value)]) continue;
      throw Error(
          "no_gradient",
          fmt::format("the loss does not depend on value {} {}, whose gradient is asked for",
                      value.id, g_.info(value).name),
          "name values on the way to the loss in wrt");
    }
  }

  Plan::Impl& p_;
  const Graph& g_;
  const PlanOptions& o_;
  std::vector<bool> needs_;
  std::vector<size_t> parameter_of_;        // per value
  std::vector<int32_t> producer_backward_;  // per node
  std::vector<int32_t> last_use_;           // per value
  std::vector<int32_t> gradient_slot_;      // per value
  // What is made again in backward, per value: whether, where, and the last step that reads it.
  std::vector<bool> is_again_;
  std::vector<Location> again_;
  std::vector<int32_t> last_again_;
  std::vector<int32_t> again_layers_;  // whose forward has been run again
};

}  // namespace

uint32_t present_inputs(const Node& node) {
  uint32_t mask = 0;
  for (size_t i = 0; i < node.inputs.size(); ++i) mask |= node.inputs[i] ? 1U << i : 0U;
  return mask;
}

Types input_types(const Graph& graph, const Node& node) {
  Types types(op_entry(node.op).max_inputs, TensorType{DType::kBool, {}});
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (node.inputs[i]) types[i] = graph.type(node.inputs[i]);
  }
  return types;
}

Plan::Plan(Graph graph, PlanOptions options) : impl_(std::make_unique<Impl>()) {
  impl_->graph = std::move(graph);
  impl_->options = std::move(options);
  Planner(*impl_).run();
}
Plan::~Plan() = default;
Plan::Plan(Plan&&) noexcept = default;
Plan& Plan::operator=(Plan&&) noexcept = default;

const Graph& Plan::graph() const { return impl_->graph; }
PlanBytes Plan::bytes(DeviceKind device) const {
  PlanBytes bytes = impl_->bytes;
  if (device == DeviceKind::kCuda) {
    bytes.scratch = impl_->cuda_scratch;
    bytes.staging = impl_->cuda_staging;
  }
  return bytes;
}
double Plan::flops() const { return impl_->flops; }

}  // namespace quern::graph
