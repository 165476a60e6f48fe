#pragma once

#include "quern/kernels/cpu/optimizer.h"

namespace quern::kernels::reference {

/// What cpu::muon computes: plain loops in float64, the transpose written out.
void muon(const cpu::MuonStep& step, float weight_decay, int64_t rows, int64_t columns,
          const float* gradient, float* parameter, float* momentum);

}  // namespace quern::kernels::reference
