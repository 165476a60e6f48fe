#include "quern/graph/recompute.h"

#include <algorithm>

#include "quern/graph/op.h"
#include "quern/graph/plan_impl.h"

namespace quern::graph {
namespace {

class Marker {
 public:
  Marker(const Graph& graph, const std::vector<bool>& flags)
      : g_(graph), flags_(flags), again_(graph.values().size()), kept_(graph.values().size()) {}

  std::vector<bool> run() {
    for (const auto& [name, value] : g_.outputs()) kept_[at(value)] = true;
    for (size_t i = 0; i < g_.nodes().size(); ++i) keep_what_others_read(i);
    for (size_t i = 0; i < g_.nodes().size(); ++i) mark_what_backward_reads(i);
    // Sources stand before what is made of them.
    for (size_t i = g_.nodes().size(); i-- > 0;) mark_sources(g_.nodes()[i]);
    return std::move(again_);
  }

 private:
  static size_t at(Value value) { return static_cast<size_t>(value.id); }
  Saved saved(const Node& node) const {
    return op_entry(node.op).saved(node.attrs, present_inputs(node));
  }
  /// The flagged node that makes the value, or null.
  const Node* flagged_producer(Value value) const {
    const int32_t node = g_.info(value).node;
    if (node < 0 || !flags_[static_cast<size_t>(node)]) return nullptr;
    return &g_.nodes()[static_cast<size_t>(node)];
  }

  void keep_what_others_read(size_t index) {
    const Node& node = g_.nodes()[index];
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const Value input = node.inputs[i];
      const Node* producer = input ? flagged_producer(input) : nullptr;
      if (producer == nullptr || producer->layer == node.layer) continue;
      if (flags_[index] || (saved(node).inputs >> i & 1U) != 0) kept_[at(input)] = true;
    }
  }

  void mark(Value value, int32_t layer) {
    const Node* producer = flagged_producer(value);
    if (producer != nullptr && producer->layer == layer && !kept_[at(value)])
      again_[at(value)] = true;
  }

  void mark_what_backward_reads(size_t index) {
    const Node& node = g_.nodes()[index];
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (node.inputs[i] && (saved(node).inputs >> i & 1U) != 0) mark(node.inputs[i], node.layer);
    }
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if ((saved(node).outputs >> i & 1U) != 0) mark(node.outputs[i], node.layer);
    }
  }

  void mark_sources(const Node& node) {
    const bool needed = std::any_of(node.outputs.begin(), node.outputs.end(),
                                    [&](Value output) { return again_[at(output)]; });
    if (!needed) return;
    for (const Value input : node.inputs)
      if (input) mark(input, node.layer);
  }

  const Graph& g_;
  const std::vector<bool>& flags_;
  std::vector<bool> again_, kept_;
};

}  // namespace

int32_t layer_count(const Graph& graph) {
  int32_t count = 0;
  for (const Node& node : graph.nodes()) count = std::max(count, node.layer + 1);
  return count;
}

std::vector<bool> recompute_flags(const Graph& graph, Recompute recompute) {
  std::vector<bool> flags(graph.nodes().size());
  for (size_t i = 0; i < flags.size(); ++i) {
    const Node& node = graph.nodes()[i];
    if (node.layer < 0) continue;
    // An op that writes over its input would keep the input instead of the output.
    const OpEntry& entry = op_entry(node.op);
    const bool light = entry.flops == nullptr && entry.in_place_input < 0;
    flags[i] = node.layer < recompute.full || (light && node.layer < recompute.light);
  }
  return flags;
}

std::vector<bool> recomputed_values(const Graph& graph, const std::vector<bool>& flags) {
  return Marker(graph, flags).run();
}

}  // namespace quern::graph
