#pragma once

#include <cstdint>

#include "quern/kernels/cuda/context.h"

namespace quern::kernels::cuda {

/// Adds what ranks have of a chunk of `count` floats in the fixed pairwise tree of
/// train::tree_add(), into `own`, on the exchange queue. `own` is that of rank `rank` of `ranks`;
/// the others' stand in their order in `incoming`, one every `stride` floats, and are overwritten.
void tree_add(const Context& context, float* own, float* incoming, int64_t stride, int64_t count,
              int rank, int ranks);

/// squares[i] = Σ x² from bounds[i] to bounds[i + 1], in float64; all where the device reads it.
void unit_squares(const Context& context, const float* x, const int64_t* bounds, int64_t units,
                  double* squares);

}  // namespace quern::kernels::cuda
