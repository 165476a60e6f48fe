#pragma once

#include "quern/kernels/cpu/window.h"

// The specification of cpu/window.h: plain loops in float64.
namespace quern::kernels::reference {

void unfold(const cpu::Windows& windows, const float* x, float* y);
void unfold_backward(const cpu::Windows& windows, const float* y_grad, float* x_grad,
                     bool accumulate);
void convolve(const cpu::Windows& windows, int64_t outputs, const float* x, const float* weight,
              float* y);
void convolve_backward(const cpu::Windows& windows, int64_t outputs, const float* weight,
                       const float* y_grad, float* x_grad, bool accumulate);
void convolve_weight_backward(const cpu::Windows& windows, int64_t outputs, const float* x,
                              const float* y_grad, float* weight_grad, bool accumulate);
void max_pool(const cpu::Windows& windows, bool relu, const float* x, float* y, uint8_t* chosen);
void max_pool_backward(const cpu::Windows& windows, const uint8_t* chosen, const float* y_grad,
                       float* x_grad, bool accumulate);
void pool(const cpu::Pool& pool, const float* x, const float* scores, float* y);
void pool_backward(const cpu::Pool& pool, const float* x, const float* scores, const float* y_grad,
                   float* x_grad, bool accumulate_x, float* scores_grad, bool accumulate_scores);

}  // namespace quern::kernels::reference
