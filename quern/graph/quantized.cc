#include "quern/graph/quantized.h"

#include <map>

namespace quern::graph {
namespace {

/// Both take a matrix of rows as their second input.
bool reads_quantized(OpCode op, size_t input) {
  return (op == OpCode::kLinear || op == OpCode::kEmbedding) && input == 1;
}

}  // namespace

std::vector<int32_t> quantizable_parameters(const Graph& graph) {
  std::map<int32_t, bool> fits;
  for (const Node& node : graph.nodes()) {
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (!node.inputs[i]) continue;
      const ValueInfo& info = graph.info(node.inputs[i]);
      if (info.kind != ValueKind::kParameter) continue;
      const bool here = reads_quantized(node.op, i) && can_be_quantized(info.type.shape);
      const auto [known, first] = fits.try_emplace(info.parameter, here);
      if (!first) known->second = known->second && here;
    }
  }
  std::vector<int32_t> indices;
  for (const auto& [index, fit] : fits) {
    if (fit) indices.push_back(index);
  }
  return indices;
}

}  // namespace quern::graph
