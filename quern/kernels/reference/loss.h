#pragma once

#include <cstdint>

#include "quern/kernels/cpu/loss.h"

namespace quern::kernels::reference {

/// As cpu::cross_entropy_forward, with the logits apart, so that double can serve finite
/// differences.
template <class T>
void cross_entropy_forward(const cpu::CrossEntropy& cross_entropy, const T* logits, double weight,
                           T* nll, T* lse, T* loss);
/// As cpu::cross_entropy_backward, but the log-sum-exp is computed anew.
template <class T>
void cross_entropy_backward(const cpu::CrossEntropy& cross_entropy, const T* logits, double weight,
                            T* logits_grad, bool accumulate);

void squared_error_forward(const cpu::SquaredError& squared_error, double weight, float* errors,
                           float* loss);
void squared_error_backward(const cpu::SquaredError& squared_error, double weight, float* grad,
                            bool accumulate);

template <class T>
void softmax(const T* x, int64_t rows, int64_t classes, T* y);

/// The same on the logits of `cross_entropy`.
inline void cross_entropy_forward(const cpu::CrossEntropy& cross_entropy, double weight, float* nll,
                                  float* lse, float* loss) {
  cross_entropy_forward<float>(cross_entropy, cross_entropy.logits, weight, nll, lse, loss);
}
inline void cross_entropy_backward(const cpu::CrossEntropy& cross_entropy, double weight,
                                   float* logits_grad, bool accumulate) {
  cross_entropy_backward<float>(cross_entropy, cross_entropy.logits, weight, logits_grad,
                                accumulate);
}

}  // namespace quern::kernels::reference
