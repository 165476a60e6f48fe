#pragma once

#include <cstdint>

#include "quern/kernels/cpu/optimizer.h"

namespace quern::kernels::reference {

double sum_of_squares(const float* x, int64_t count);
void adamw(const cpu::AdamWStep& step, float weight_decay, int64_t count, const float* gradient,
           float* parameter, float* m, float* v);
void ema(float decay, int64_t count, const float* parameter, float* shadow);

}  // namespace quern::kernels::reference
