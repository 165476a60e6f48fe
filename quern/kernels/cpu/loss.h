#pragma once

#include <cstddef>
#include <cstdint>

#include "quern/kernels/cpu/context.h"

namespace quern::kernels::cpu {

/// Softmax cross-entropy of logits (rows, classes) against targets (rows; < 0: not counted).
template <typename T>
struct CrossEntropyOf {
  int64_t rows = 0, classes = 0;
  const T* logits = nullptr;
  const int32_t* targets = nullptr;
  float label_smoothing = 0;
  const float* row_weights = nullptr;  // (rows) or null: 1
};
using CrossEntropy = CrossEntropyOf<float>;
/// nll (rows): -log p(target), 0 where not counted, without smoothing; lse (rows): log-sum-exp of
/// each row; loss (1) = weight · Σ row weight · smoothed loss. Either of nll and lse may be null.
size_t cross_entropy_forward_scratch(int64_t rows);
void cross_entropy_forward(const Context& context, const CrossEntropy& cross_entropy, float weight,
                           float* nll, float* lse, float* loss, std::byte* scratch);
/// logits_grad (rows, classes) = weight · row weight · (softmax - target); may alias logits.
void cross_entropy_backward(const Context& context, const CrossEntropy& cross_entropy,
                            const float* lse, float weight, float* logits_grad, bool accumulate);
/// Both at once, so that each row of logits is read from memory once; logits_grad may alias logits.
/// `gradient_weight` is the weight times the gradient of the loss; nll and lse may be null.
size_t cross_entropy_both_scratch(int64_t rows);
void cross_entropy_both(const Context& context, const CrossEntropy& cross_entropy, float weight,
                        float gradient_weight, float* nll, float* lse, float* loss,
                        float* logits_grad, std::byte* scratch);

/// Squared error of predictions (count) against targets (count).
struct SquaredError {
  int64_t count = 0;
  const float* predictions = nullptr;
  const float* targets = nullptr;
  const float* row_weights = nullptr;  // (count) or null: 1
};
/// errors (count): (p - t)², may be null; loss (1) = weight · Σ row weight · (p - t)².
size_t squared_error_scratch(int64_t count);
void squared_error_forward(const Context& context, const SquaredError& squared_error, float weight,
                           float* errors, float* loss, std::byte* scratch);
/// grad (count) = 2 · weight · row weight · (p - t).
void squared_error_backward(const Context& context, const SquaredError& squared_error, float weight,
                            float* grad, bool accumulate);

/// softmax of each row of x (rows, classes); y may be x.
void softmax(const Context& context, const float* x, int64_t rows, int64_t classes, float* y);

}  // namespace quern::kernels::cpu
