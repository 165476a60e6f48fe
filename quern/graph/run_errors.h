#pragma once

#include <string>

#include "quern/base/error.h"
#include "quern/graph/plan_impl.h"
#include "quern/kernels/cuda/faults.h"

// What an executor says when something in a run is wrong: the op, its layer, what it was given.
namespace quern::graph {

/// A value as "name (shape)", a computed one by the op that made it.
std::string describe(const Graph& graph, Value value);

/// The first NaN: in output `index` of the step, or in the gradient of input `index`.
[[noreturn]] void throw_nan(const Graph& graph, const PlannedStep& step, size_t index,
                            bool gradient);

/// An index that a kernel found to point outside, with the ops that it may have been in.
[[noreturn]] void throw_fault(const Graph& graph, kernels::cuda::Fault fault);

/// What the device said of a step; of a whole run where it is not known in which.
[[noreturn]] void throw_device_error(const Graph& graph, const PlannedStep& step,
                                     const DeviceError& error);
[[noreturn]] void throw_device_error(const Graph& graph, const DeviceError& error);

}  // namespace quern::graph
