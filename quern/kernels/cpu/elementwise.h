#pragma once

#include <cstdint>

#include "quern/kernels/activation.h"
#include "quern/kernels/cpu/context.h"

namespace quern::kernels::cpu {

// `accumulate` adds to the output; without it the output is overwritten. Outputs may alias an input
// of the same extent.

void activation_forward(const Context& context, Activation activation, const float* x,
                        int64_t count, float* y);
/// x_grad = y_grad · activation'(x).
void activation_backward(const Context& context, Activation activation, const float* x,
                         const float* y_grad, int64_t count, float* x_grad, bool accumulate);

/// x (rows, 2·width) holds gate then value: y (rows, width) = activation(gate) · value (Shazeer
/// 2020).
void gated_unit_forward(const Context& context, Activation activation, const float* x, int64_t rows,
                        int64_t width, float* y);
void gated_unit_backward(const Context& context, Activation activation, const float* x,
                         const float* y_grad, int64_t rows, int64_t width, float* x_grad,
                         bool accumulate);

/// c = a + scale · b, with b repeated every `period` elements (period = count: no broadcast).
void add(const Context& context, const float* a, const float* b, int64_t count, int64_t period,
         float scale, float* c);
void multiply(const Context& context, const float* a, const float* b, int64_t count, int64_t period,
              float* c);
/// y (+)= scale · x
void scale(const Context& context, const float* x, int64_t count, float factor, float* y,
           bool accumulate);

/// Inverted dropout: keeps an element with probability 1 - rate and scales it by 1 / (1 - rate).
/// `random` (4) is seed low, seed high, step, first global sample index; `stream` and `layer` name
/// the consumer; an element is keyed by its sample and its place within it, so forward and backward
/// draw alike. `per_sample` keeps or drops whole samples of `sample_size` elements (drop path).
struct Dropout {
  float rate = 0;
  bool per_sample = false;
  int64_t samples = 0, sample_size = 0;
  const uint32_t* random = nullptr;
  uint32_t stream = 0, layer = 0;
};
/// y = residual + dropout(x); residual may be null. With accumulate (backward): y += dropout(x).
void dropout(const Context& context, const Dropout& dropout, const float* x, const float* residual,
             float* y, bool accumulate);

/// Rotates the query and key heads of packed qkv (B,T,(heads+2·kv_heads)·D) by the angles in table
/// (capacity, D): cosines of the D/2 frequencies, then their sines (half-split, as Llama in the
/// Hugging Face layout; Su et al. 2021). Row (b,t) stands at offsets[b] + t (offsets null: 0).
/// `inverse` turns back, which is the backward pass. The value part is copied. y may be x.
struct Rope {
  int64_t batch = 0, rows = 0, heads = 0, kv_heads = 0, head_dim = 0;
  const float* table = nullptr;
  const int32_t* offsets = nullptr;
  bool inverse = false;
};
void rope(const Context& context, const Rope& rope, const float* x, float* y, bool accumulate);

}  // namespace quern::kernels::cpu
