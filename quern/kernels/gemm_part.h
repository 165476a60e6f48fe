#pragma once

#include "quern/kernels/cpu/gemm.h"

namespace quern::kernels {

/// The columns of C from `first` on of a product with a linear layer's weight, whose rows for them
/// stand at `b`, one after another.
template <typename In, typename Out>
cpu::GemmOf<In, Out> column_part(const cpu::GemmOf<In, Out>& gemm, int64_t first, int64_t columns,
                                 const In* b) {
  cpu::GemmOf<In, Out> part = gemm;
  part.n = columns;
  part.b = b;
  part.ldb = gemm.k;
  part.transpose_b = true;
  part.c += first;
  if (part.bias != nullptr) part.bias += first;
  if (part.pre_activation != nullptr) part.pre_activation += first;
  if (part.residual != nullptr) part.residual += first;
  return part;
}

}  // namespace quern::kernels
