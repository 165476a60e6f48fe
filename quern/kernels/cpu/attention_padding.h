#pragma once

#include <cstddef>
#include <cstdint>

#include "quern/kernels/cpu/attention.h"

namespace quern::kernels::cpu {

// The kernels read whole vectors of a head's row. Where head_dim is no multiple of 16, the operands
// are copied beforehand to rows of a multiple of 16, zeros at the end.

inline int64_t padded_head_dim(int64_t head_dim) { return (head_dim + 15) / 16 * 16; }

/// Floats of a padded copy of q, k and v.
int64_t padding_floats(const Attention& attention);
/// The same attention over padded copies in `scratch`; itself where nothing is to be padded.
Attention pad(const Context& context, const Attention& attention, float* scratch);
/// (B,T,heads·D) to (B,T,heads,padded D) in `scratch`, or `x` itself.
const float* pad_output(const Context& context, const Attention& attention, const float* x,
                        float* scratch);

/// Throws ShapeError when head_dim is not supported.
void check(const Attention& attention);

}  // namespace quern::kernels::cpu
