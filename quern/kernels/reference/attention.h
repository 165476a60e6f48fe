#pragma once

#include "quern/kernels/cpu/attention.h"

namespace quern::kernels::reference {

/// What cpu::attention_forward and cpu::attention_backward compute: plain loops in float64. lse may
/// be null.
void attention_forward(const cpu::Attention& attention, float* out, float* lse);
void attention_backward(const cpu::Attention& attention, const float* out_grad, float* q_grad,
                        float* k_grad, float* v_grad);

}  // namespace quern::kernels::reference
