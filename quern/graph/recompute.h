#pragma once

#include <cstdint>
#include <vector>

#include "quern/graph/graph.h"

namespace quern::graph {

/// How much of the forward pass is run again in backward, so that its outputs need not be kept
/// (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"). Layers count from the
/// first: their outputs would be kept longest.
struct Recompute {
  int32_t light = 0;  // layers of which norms and gated units are run again
  int32_t full = 0;   // layers of which everything is
  bool operator==(const Recompute&) const = default;
};

/// The layers of a graph; nodes outside of any are never run again.
int32_t layer_count(const Graph& graph);

/// For each node, whether it is run again. What PlanOptions::recompute takes.
std::vector<bool> recompute_flags(const Graph& graph, Recompute recompute);

/// For each value, whether backward reads it as made again, just before the backward of its layer:
/// what a flagged node makes, what backward of the same layer reads, and what these are made from.
/// What other layers read in backward is kept.
std::vector<bool> recomputed_values(const Graph& graph, const std::vector<bool>& flags);

}  // namespace quern::graph
