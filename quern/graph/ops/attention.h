#pragma once

#include "quern/graph/op.h"
#include "quern/kernels/cpu/attention.h"

namespace quern::graph::ops {

/// The kernel's view of an attention node: for its own calls and for the observer, which recomputes
/// the weights.
kernels::cpu::Attention attention_arguments(const KernelCall& call);

}  // namespace quern::graph::ops
