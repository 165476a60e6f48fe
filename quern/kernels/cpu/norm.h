#pragma once

#include <cstddef>
#include <cstdint>

#include "quern/kernels/cpu/context.h"

namespace quern::kernels::cpu {

/// LayerNorm (Ba et al. 2016) or, with rms, RMSNorm (Zhang & Sennrich 2019) over rows of `width`.
/// With `residual`, normalises sum = x + residual and stores sum.
template <typename T>
struct NormOf {
  int64_t rows = 0, width = 0;
  bool rms = false;
  float epsilon = 1e-5F;
  const T* x = nullptr;
  const T* residual = nullptr;    // (rows, width) or null
  const float* weight = nullptr;  // (width) or null: 1
  const float* bias = nullptr;    // (width) or null: 0
};
using Norm = NormOf<float>;

/// y (rows,width); sum (rows,width), required with residual, may alias x or residual; statistics
/// (rows,2): mean and 1/σ, may be null.
void norm_forward(const Context& context, const Norm& norm, float* y, float* sum,
                  float* statistics);

/// `norm.x` is the normalised input (the sum where there was a residual). x_grad (+)= dL/dx;
/// `sum_grad`, where not null, is what already flows into the sum from elsewhere and is added in
/// the same pass (it may alias x_grad). weight_grad and bias_grad (width) may be null.
size_t norm_backward_scratch(int64_t rows, int64_t width);
void norm_backward(const Context& context, const Norm& norm, const float* statistics,
                   const float* y_grad, const float* sum_grad, float* x_grad, bool accumulate_x,
                   float* weight_grad, float* bias_grad, bool accumulate_parameters,
                   std::byte* scratch);

}  // namespace quern::kernels::cpu
