#pragma once

#include <cstdint>

#include "quern/kernels/cpu/attention.h"

namespace quern::kernels::cpu {

/// Everything of one attention's backward. Operands may be padded; gradients have the strides that
/// the caller gave.
struct AttentionBackward {
  Attention a;
  const float* out = nullptr;
  const float* lse = nullptr;
  const float* out_grad = nullptr;         // (B,T,H·D)
  const float* padded_out_grad = nullptr;  // rows of padded_row floats, head after head
  int64_t padded_row = 0, padded_head = 0;
  float *q_grad = nullptr, *k_grad = nullptr, *v_grad = nullptr;
  int64_t q_batch = 0, q_row = 0, q_head = 0;
  int64_t kv_batch = 0, kv_row = 0, kv_head = 0;
};

}  // namespace quern::kernels::cpu
