#include "quern/graph/run_errors.h"

#include <fmt/format.h>

namespace quern::graph {
namespace {

const Node& node_of(const Graph& graph, const PlannedStep& step) {
  return graph.nodes()[static_cast<size_t>(step.node)];
}

/// What a node was given, each by the op's name for it.
std::string parents(const Graph& graph, const Node& node) {
  std::string list;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (!node.inputs[i]) continue;
    list += fmt::format("{}{}: {}", list.empty() ? "" : ", ", op_entry(node.op).input_names[i],
                        describe(graph, node.inputs[i]));
  }
  return list;
}

std::string run_inputs(const Graph& graph) {
  std::string list;
  for (const ValueInfo& info : graph.values()) {
    if (info.kind != ValueKind::kInput) continue;
    list +=
        fmt::format("{}{} {}", list.empty() ? "" : ", ", info.name, info.type.shape.to_string());
  }
  return list;
}

}  // namespace

std::string describe(const Graph& graph, Value value) {
  const ValueInfo& info = graph.info(value);
  std::string name = info.name;
  if (info.kind == ValueKind::kComputed) {
    const Node& parent = graph.nodes()[static_cast<size_t>(info.node)];
    name = op_entry(parent.op).name;
    if (parent.layer >= 0) name += fmt::format(" of layer {}", parent.layer);
  }
  return fmt::format("{} {}", name, info.type.shape.to_string());
}

void throw_nan(const Graph& graph, const PlannedStep& step, size_t index, bool gradient) {
  const Node& node = node_of(graph, step);
  const OpEntry& entry = op_entry(node.op);
  const std::string what =
      gradient ? fmt::format("the gradient of {} in backward", entry.input_names[index])
               : fmt::format("output {}", index);
  const std::string layer = node.layer < 0 ? "" : fmt::format(" (layer {})", node.layer);
  throw Error("nan",
              fmt::format("the first NaN is in {} of {}{}; its inputs: {}", what, entry.name, layer,
                          parents(graph, node)),
              "lower the learning rate, clip the gradient, or look at what these inputs hold");
}

void throw_fault(const Graph& graph, kernels::cuda::Fault fault) {
  struct Words {
    OpCode op;
    const char *what, *hint;
  };
  const Words words = [&]() -> Words {
    switch (fault) {
      case kernels::cuda::kGatherFault:
        return {OpCode::kGatherRows, "a row lies outside its sequence",
                "give rows within the length of x"};
      case kernels::cuda::kCacheFault:
        return {OpCode::kCacheWrite, "positions do not fit the cache",
                "start a new session, or raise the context"};
      default:
        return {OpCode::kEmbedding, "an id is not in the table",
                "use the tokenizer that the model was trained with"};
    }
  }();
  std::string places;
  for (const Node& node : graph.nodes()) {
    if (node.op != words.op) continue;
    const std::string place = parents(graph, node);
    if (places.find(place) == std::string::npos) places += (places.empty() ? "" : "; or ") + place;
  }
  throw Error("bad_index",
              fmt::format("{} over {}: {}", op_entry(words.op).name, places, words.what),
              words.hint);
}

void throw_device_error(const Graph& graph, const PlannedStep& step, const DeviceError& error) {
  const Node& node = node_of(graph, step);
  const std::string layer = node.layer < 0 ? "" : fmt::format(" of layer {}", node.layer);
  throw DeviceError(
      fmt::format("{}{}{} over {}: {}", op_entry(node.op).name, layer,
                  step.backward ? ", backward," : "", parents(graph, node), error.what()),
      error.hint());
}

void throw_device_error(const Graph& graph, const DeviceError& error) {
  throw DeviceError(fmt::format("a run over {}: {}", run_inputs(graph), error.what()),
                    error.hint());
}

}  // namespace quern::graph
