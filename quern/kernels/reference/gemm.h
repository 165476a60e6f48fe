#pragma once

#include "quern/kernels/cpu/gemm.h"
#include "quern/kernels/quantized.h"

namespace quern::kernels::reference {

/// What cpu::gemm computes: plain loops, sums in float64.
void gemm(const cpu::Gemm& gemm);
void quantized_gemm(const cpu::Gemm& gemm, const QuantizedMatrix& weight);
void dequantize(const QuantizedMatrix& matrix, int64_t first, int64_t rows, float* out);
void column_sum(const float* x, int64_t m, int64_t n, float* out, bool accumulate);
double activate(Activation activation, double x);

}  // namespace quern::kernels::reference
