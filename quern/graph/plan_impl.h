#pragma once

#include <array>
#include <vector>

#include "quern/graph/pack.h"
#include "quern/graph/plan.h"

// The plan as data: what the executor bakes into tensor views, and what the planner's tests check.
namespace quern::graph {

/// Where a tensor stands.
struct Location {
  enum class Kind : uint8_t { kNone, kSlot, kConstant, kParameter, kParameterGradient, kState };
  Kind kind = Kind::kNone;
  int32_t index = -1;  // of the slot, or of the constant's, parameter's or state's value
  explicit operator bool() const { return kind != Kind::kNone; }
  bool operator==(const Location&) const = default;
};

struct PlannedStep {
  int32_t node = 0;
  bool backward = false;
  bool both = false;                                // backward, and forward in the same kernel
  bool again = false;                               // forward, run once more for backward
  std::vector<Location> inputs, outputs;            // in backward, only what the op saved
  std::vector<Location> output_grads, input_grads;  // in backward
  std::array<bool, kMaxInputs> accumulate{};
  uint32_t first_parameter_gradients = 0;  // inputs whose `accumulate` is the run's own flag
  struct Transfer {
    Location from, to;
    Value value;  // whose type both have
  };
  std::vector<Transfer> keeps;       // before the kernel: a gradient asked for is copied out
  std::vector<Transfer> adds;        // after it: to += from, where the kernel can only overwrite
  std::vector<size_t> observations;  // indices into PlanOptions::observe
};

struct Plan::Impl {
  Graph graph;
  PlanOptions options;
  std::vector<PlannedStep> steps;       // forward, then backward
  std::vector<Location> values;         // per value of the graph
  std::vector<Location> gradients;      // per value: what Executor::gradient reads
  Location seed;                        // the gradient of the loss, 1
  int32_t first_backward = 0;           // index of the first backward step
  std::vector<bool> parameter_written;  // per value, the first of its parameter: whether the
                                        // kernels write its gradient
  std::vector<Slot> slots;
  std::vector<size_t> constant_offsets;  // per value
  PlanBytes bytes;
  size_t cuda_scratch = 0;  // in place of bytes.scratch
  size_t cuda_staging = 0;
  double flops = 0;
};

/// Bit i: the node has input i.
uint32_t present_inputs(const Node& node);
/// The types of a node's inputs, absent ones included, as the op table's functions take them.
Types input_types(const Graph& graph, const Node& node);

}  // namespace quern::graph
