#pragma once

#include "quern/kernels/cpu/gemm.h"

namespace quern::kernels::reference {

/// What cpu::gemm computes: plain loops, sums in float64.
void gemm(const cpu::Gemm& gemm);
void column_sum(const float* x, int64_t m, int64_t n, float* out, bool accumulate);
double activate(Activation activation, double x);

}  // namespace quern::kernels::reference
