// The optimizer's steps: one pass over memory each.

#include "quern/kernels/cuda/arguments.h"
#include "quern/kernels/cuda/simt.h"

namespace quern::kernels::cuda {

/// Σ x² of each block in float64, joined by quern_root.
QUERN_COOPERATIVE_KERNEL(quern_sum_of_squares, arguments::SumOfSquares) {
  QUERN_SHARED double sums[256];
  double sum = 0;
  for (int64_t i = grid_thread(); i < a.count; i += grid_threads())
    sum += static_cast<double>(a.x[i]) * static_cast<double>(a.x[i]);
  sums[thread_index()] = sum;
  for (int64_t half = thread_count() / 2; half > 0; half /= 2) {
    barrier();
    if (thread_index() < half) sums[thread_index()] += sums[thread_index() + half];
  }
  if (thread_index() == 0) a.parts[block_x()] = sums[0];
}

QUERN_KERNEL(quern_root, arguments::Root) {
  if (grid_thread() != 0) return;
  double sum = 0;
  for (int64_t i = 0; i < a.count; ++i) sum += a.parts[i];
  *a.out = static_cast<float>(sqrt(sum));
}

QUERN_KERNEL(quern_adamw, arguments::AdamW) {
  const cpu::AdamWStep step = a.step;
  const float keep = 1 - step.learning_rate * a.weight_decay;
  for (int64_t i = grid_thread(); i < a.count; i += grid_threads()) {
    const float g = a.gradient[i] * step.gradient_scale;
    const float m = step.beta1 * a.m[i] + (1 - step.beta1) * g;
    const float v = step.beta2 * a.v[i] + (1 - step.beta2) * g * g;
    a.m[i] = m;
    a.v[i] = v;
    const float denominator = sqrtf(v / step.correction2) + step.epsilon;
    a.parameter[i] =
        a.parameter[i] * keep - step.learning_rate * (m / step.correction1) / denominator;
  }
}

QUERN_KERNEL(quern_ema, arguments::Ema) {
  for (int64_t i = grid_thread(); i < a.count; i += grid_threads())
    a.shadow[i] += (1 - *a.decay) * (a.parameter[i] - a.shadow[i]);
}

/// As torch.optim.Muon: m += (1 - β)(g - m); the update is m, or g + β(m - g) with Nesterov.
QUERN_KERNEL(quern_muon_momentum, arguments::MuonMomentum) {
  const cpu::MuonStep step = a.step;
  for (int64_t i = grid_thread(); i < a.count; i += grid_threads()) {
    const float g = a.gradient[i] * step.gradient_scale;
    const float m = a.momentum[i] + (1 - step.momentum) * (g - a.momentum[i]);
    a.momentum[i] = m;
    a.x[i] = step.nesterov ? g + step.momentum * (m - g) : m;
  }
}

QUERN_KERNEL(quern_muon_normalise, arguments::MuonNormalise) {
  const float factor = 1 / largest(*a.norm, 1e-7F);
  for (int64_t i = grid_thread(); i < a.count; i += grid_threads()) a.x[i] *= factor;
}

/// a + b G + c G², in the place of the square.
QUERN_KERNEL(quern_muon_polynomial, arguments::MuonPolynomial) {
  for (int64_t i = grid_thread(); i < a.side * a.side; i += grid_threads()) {
    const float diagonal = i / a.side == i % a.side ? a.a : 0;
    a.square[i] = diagonal + a.b * a.gram[i] + a.c * a.square[i];
  }
}

QUERN_KERNEL(quern_muon_update, arguments::MuonUpdate) {
  const cpu::MuonStep step = a.step;
  const float keep = 1 - step.learning_rate * a.weight_decay;
  const float rate =
      step.learning_rate * 0.2F * sqrtf(static_cast<float>(larger(a.rows, a.columns)));
  for (int64_t i = grid_thread(); i < a.rows * a.columns; i += grid_threads())
    a.parameter[i] = a.parameter[i] * keep - rate * a.x[i];
}

}  // namespace quern::kernels::cuda
