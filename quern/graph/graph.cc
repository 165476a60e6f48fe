#include "quern/graph/graph.h"

#include <fmt/format.h>

#include "quern/base/error.h"

namespace quern::graph {
namespace {

std::string_view kind_name(ValueKind kind) {
  constexpr std::string_view kNames[] = {"value",    "input", "parameter",
                                         "gradient", "state", "constant"};
  return kNames[static_cast<size_t>(kind)];
}

[[noreturn]] void unknown(std::string_view what, std::string_view name,
                          const std::vector<std::string>& known) {
  std::string list;
  for (const std::string& one : known) list += (list.empty() ? "" : ", ") + one;
  throw Error("unknown_name", fmt::format("the graph has no {} named {}", what, name),
              known.empty() ? fmt::format("it has no {}s", what) : "it has: " + list);
}

std::string place(int32_t layer) { return layer < 0 ? "" : fmt::format("layer {}: ", layer); }

}  // namespace

Value Graph::add_value(ValueInfo info) {
  values_.push_back(std::move(info));
  return Value{static_cast<int32_t>(values_.size()) - 1};
}

Value Graph::find(ValueKind kind, std::string_view name, const TensorType& type) const {
  for (size_t i = 0; i < values_.size(); ++i) {
    const ValueInfo& info = values_[i];
    if (info.kind != kind || info.name != name) continue;
    if (info.type == type) return Value{static_cast<int32_t>(i)};
    // A parameter may be read as it is, and as its copy in another type.
    if (kind == ValueKind::kParameter && info.type.shape == type.shape) continue;
    throw ShapeError(fmt::format("{} {} is {} {}, asked for again as {} {}", kind_name(kind), name,
                                 info.type.shape.to_string(), quern::name(info.type.dtype),
                                 type.shape.to_string(), quern::name(type.dtype)),
                     "give the other one a name of its own");
  }
  return {};
}

Value Graph::input(std::string_view name, TensorType type) {
  if (find(ValueKind::kInput, name, type))
    throw Error("duplicate_input", fmt::format("the graph has two inputs named {}", name),
                "declare an input once and use its value");
  ValueInfo info;
  info.kind = ValueKind::kInput;
  info.type = type;
  info.name = name;
  return add_value(std::move(info));
}

Value Graph::parameter(std::string_view name, int32_t index, TensorType type) {
  if (const Value known = find(ValueKind::kParameter, name, type)) return known;
  ValueInfo info;
  info.kind = ValueKind::kParameter;
  info.type = type;
  info.name = name;
  info.parameter = index;
  return add_value(std::move(info));
}

Value Graph::gradient(std::string_view name, int32_t index, TensorType type) {
  if (const Value known = find(ValueKind::kGradient, name, type)) return known;
  ValueInfo info;
  info.kind = ValueKind::kGradient;
  info.type = type;
  info.name = name;
  info.parameter = index;
  return add_value(std::move(info));
}

Value Graph::state(std::string_view name, TensorType type) {
  if (const Value known = find(ValueKind::kState, name, type)) return known;
  ValueInfo info;
  info.kind = ValueKind::kState;
  info.type = type;
  info.name = name;
  return add_value(std::move(info));
}

Value Graph::constant(std::string_view name, TensorType type,
                      std::function<void(TensorView)> fill) {
  if (const Value known = find(ValueKind::kConstant, name, type)) return known;
  ValueInfo info;
  info.kind = ValueKind::kConstant;
  info.type = type;
  info.name = name;
  info.fill = std::move(fill);
  return add_value(std::move(info));
}

Value Graph::add(OpCode op, const Attrs& attrs, std::span<const Value> inputs) {
  const OpEntry& entry = op_entry(op);
  if (inputs.size() > entry.max_inputs) {
    throw ShapeError(fmt::format("{}{}: {} inputs given, it takes {}", place(layer_), entry.name,
                                 inputs.size(), entry.max_inputs),
                     "see the list beside its OpCode");
  }
  Types types;
  for (size_t i = 0; i < entry.max_inputs; ++i) {
    const bool present = i < inputs.size() && inputs[i];
    types.push_back(present ? type(inputs[i]) : TensorType{DType::kBool, {}});
    if (!present && (entry.required_inputs >> i & 1U) != 0) {
      throw ShapeError(
          fmt::format("{}{}: input {} is missing", place(layer_), entry.name, entry.input_names[i]),
          "only the inputs in [brackets] beside its OpCode may be left out");
    }
  }
  Types made;
  try {
    made = entry.infer(attrs, types);
  } catch (const ShapeError& error) {
    if (layer_ < 0) throw;
    throw ShapeError(place(layer_) + error.what(), error.hint());
  }
  Node node;
  node.op = op;
  node.attrs = attrs;
  node.inputs.assign(inputs.begin(), inputs.end());
  while (!node.inputs.empty() && !node.inputs.back()) node.inputs.pop_back();
  node.layer = layer_;
  const auto index = static_cast<int32_t>(nodes_.size());
  for (size_t i = 0; i < made.size(); ++i) {
    ValueInfo info;
    info.type = made[i];
    info.node = index;
    info.output = static_cast<int32_t>(i);
    node.outputs.push_back(add_value(std::move(info)));
  }
  nodes_.push_back(std::move(node));
  return made.empty() ? Value{} : nodes_.back().outputs[0];
}

Value Graph::output_of(Value first, int index) const {
  const ValueInfo& made = info(first);
  if (made.node < 0)
    throw Error("not_computed",
                fmt::format("{} {} is not made by a node", kind_name(made.kind), made.name));
  return nodes_[static_cast<size_t>(made.node)].outputs.at(static_cast<size_t>(index));
}

void Graph::name_output(std::string_view name, Value value) {
  for (const auto& [known, v] : outputs_) {
    if (known == name)
      throw Error("duplicate_output", fmt::format("the graph has two outputs named {}", name));
  }
  if (info(value).kind != ValueKind::kComputed) {
    throw Error("not_computed",
                fmt::format("output {} is not made by a node but is {} {}", name,
                            kind_name(info(value).kind), info(value).name),
                "read it where it lives");
  }
  outputs_.emplace_back(std::string(name), value);
}

void Graph::tap(Tap tap, Value value) {
  const ValueInfo& made = info(value);
  if (made.node < 0) throw Error("not_computed", "only a value made by a node can be tapped");
  if (tap == Tap::kAttention && nodes_[static_cast<size_t>(made.node)].op != OpCode::kAttention)
    throw Error("wrong_tap", "an attention tap belongs on the output of an attention node");
  taps_.push_back({layer_, tap, value, made.node});
}

Value Graph::output(std::string_view name) const {
  std::vector<std::string> known;
  for (const auto& [one, value] : outputs_) {
    if (one == name) return value;
    known.push_back(one);
  }
  unknown("output", name, known);
}

Value Graph::input(std::string_view name) const {
  std::vector<std::string> known;
  for (size_t i = 0; i < values_.size(); ++i) {
    if (values_[i].kind != ValueKind::kInput) continue;
    if (values_[i].name == name) return Value{static_cast<int32_t>(i)};
    known.push_back(values_[i].name);
  }
  unknown("input", name, known);
}

double Graph::flops() const {
  double total = 0;
  Types types;
  for (const Node& node : nodes_) {
    const OpEntry& entry = op_entry(node.op);
    if (entry.flops == nullptr) continue;
    types.clear();
    for (const Value value : node.inputs)
      types.push_back(value ? type(value) : TensorType{DType::kBool, {}});
    total += entry.flops(node.attrs, types);
  }
  return total;
}

}  // namespace quern::graph
