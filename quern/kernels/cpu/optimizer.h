#pragma once

#include <cstddef>
#include <cstdint>

#include "quern/kernels/cpu/context.h"

namespace quern::kernels::cpu {

/// Σ x² in a fixed tree of float64 partial sums.
size_t sum_of_squares_scratch(int64_t count);
double sum_of_squares(const Context& context, const float* x, int64_t count, std::byte* scratch);

/// What changes from step to step.
struct AdamWStep {
  float learning_rate = 0;
  float beta1 = 0.9F, beta2 = 0.999F, epsilon = 1e-8F;
  float correction1 = 1, correction2 = 1;  // 1 - βᵗ
  float gradient_scale = 1;                // clipping
};
/// Decoupled weight decay (Loshchilov & Hutter 2019), as torch.optim.AdamW: p -= lr·wd·p, then
/// p -= lr · (m/c1) / (√(v/c2) + ε). One pass over memory.
void adamw(const Context& context, const AdamWStep& step, float weight_decay, int64_t count,
           const float* gradient, float* parameter, float* m, float* v);

/// shadow += (1 - decay) · (parameter - shadow).
void ema(const Context& context, float decay, int64_t count, const float* parameter, float* shadow);

/// Muon (Jordan et al. 2024): momentum, then five Newton-Schulz steps towards the nearest
/// semi-orthogonal matrix, for a parameter (rows, columns); the update is scaled by 0.2·√max(rows,
/// columns), which matches AdamW's update size (Liu et al. 2025, "Muon is scalable for LLM
/// training").
struct MuonStep {
  float learning_rate = 0, momentum = 0.95F, gradient_scale = 1;
  bool nesterov = true;
};
size_t muon_scratch(int64_t rows, int64_t columns);
void muon(const Context& context, const MuonStep& step, float weight_decay, int64_t rows,
          int64_t columns, const float* gradient, float* parameter, float* momentum,
          std::byte* scratch);

}  // namespace quern::kernels::cpu
