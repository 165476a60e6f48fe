#pragma once

#include "quern/kernels/cpu/norm.h"

namespace quern::kernels::reference {

/// The tensors of cpu::Norm, so that double can serve finite differences.
template <class T>
struct NormInputs {
  const T* x = nullptr;
  const T* residual = nullptr;
  const T* weight = nullptr;
  const T* bias = nullptr;
};

/// As cpu::norm_forward; of `norm` only the extents, rms and epsilon are read.
template <class T>
void norm_forward(const cpu::Norm& norm, const NormInputs<T>& inputs, T* y, T* sum, T* statistics);
/// As cpu::norm_backward, but the statistics are computed anew from x.
template <class T>
void norm_backward(const cpu::Norm& norm, const NormInputs<T>& inputs, const T* y_grad,
                   const T* sum_grad, T* x_grad, bool accumulate_x, T* weight_grad, T* bias_grad,
                   bool accumulate_parameters);

/// The same on the tensors of `norm`.
void norm_forward(const cpu::Norm& norm, float* y, float* sum, float* statistics);
void norm_backward(const cpu::Norm& norm, const float* y_grad, const float* sum_grad, float* x_grad,
                   bool accumulate_x, float* weight_grad, float* bias_grad,
                   bool accumulate_parameters);

}  // namespace quern::kernels::reference
