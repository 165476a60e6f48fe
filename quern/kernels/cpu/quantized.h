#pragma once

#include <cstddef>
#include <cstdint>

#include "quern/kernels/cpu/context.h"
#include "quern/kernels/cpu/gemm.h"
#include "quern/kernels/quantized.h"

namespace quern::kernels::cpu {

/// C (m,n) = epilogue(A (m,k) · Wᵀ [+ C]), W (n,k) the quantised weight of a linear layer: as
/// gemm() of its values in float32, with `gemm.b` not read. Up to eight rows read each byte of W
/// once.
size_t quantized_gemm_scratch(const Gemm& shape);
void quantized_gemm(const Context& context, const Gemm& gemm, const QuantizedMatrix& weight,
                    std::byte* scratch);

/// Rows first … of the matrix, in float32: out (rows, columns).
void dequantize(const Context& context, const QuantizedMatrix& matrix, int64_t first, int64_t rows,
                float* out);

}  // namespace quern::kernels::cpu
