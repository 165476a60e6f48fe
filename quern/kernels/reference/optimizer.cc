#include "quern/kernels/reference/optimizer.h"

#include <cmath>

namespace quern::kernels::reference {

double sum_of_squares(const float* x, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return sum;
}

void adamw(const cpu::AdamWStep& step, float weight_decay, int64_t count, const float* gradient,
           float* parameter, float* m, float* v) {
  const auto wide = [](float x) { return static_cast<double>(x); };
  const double rate = wide(step.learning_rate), beta1 = wide(step.beta1), beta2 = wide(step.beta2);
  for (int64_t i = 0; i < count; ++i) {
    const double g = wide(gradient[i]) * wide(step.gradient_scale);
    const double first = beta1 * wide(m[i]) + (1 - beta1) * g;
    const double second = beta2 * wide(v[i]) + (1 - beta2) * g * g;
    const double p = wide(parameter[i]) * (1 - rate * wide(weight_decay));
    const double denominator = std::sqrt(second / wide(step.correction2)) + wide(step.epsilon);
    m[i] = static_cast<float>(first);
    v[i] = static_cast<float>(second);
    parameter[i] = static_cast<float>(p - rate * first / wide(step.correction1) / denominator);
  }
}

void ema(float decay, int64_t count, const float* parameter, float* shadow) {
  for (int64_t i = 0; i < count; ++i) {
    const double s = static_cast<double>(shadow[i]);
    shadow[i] = static_cast<float>(s + (1 - static_cast<double>(decay)) *
                                           (static_cast<double>(parameter[i]) - s));
  }
}

}  // namespace quern::kernels::reference
