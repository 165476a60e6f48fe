#pragma once

#include <cstddef>
#include <cstdint>

#include "quern/kernels/cpu/context.h"

namespace quern::kernels::cpu {

/// softmax(Q Kᵀ · scale + bias + mask) V for every batch row and head, tiled with an online softmax
/// (Dao et al. 2022, "FlashAttention"). Query head h reads key-value head h / (heads / kv_heads).
template <typename T>
struct AttentionOf {
  int64_t batch = 0;
  int64_t queries = 0;   // T: query positions of each row
  int64_t capacity = 0;  // S: key slots of each row; T when keys come from qkv
  int64_t heads = 0, kv_heads = 0, head_dim = 0;

  // Element (b, t, h, d) of q stands at q[b * q_batch + t * q_row + h * q_head + d]; k and v alike.
  // So packed projections (B, T, (heads + 2 kv_heads) · D) and caches (B, kv_heads, S, D) are both
  // read in place.
  const T *q = nullptr, *k = nullptr, *v = nullptr;
  int64_t q_batch = 0, q_row = 0, q_head = 0;
  int64_t kv_batch = 0, kv_row = 0, kv_head = 0;

  bool causal = true;
  int64_t window = 0;  // a query sees this many keys back, itself included; 0: all
  float scale = 1;     // 1/√D
  // Valid keys of each batch row (B), or null: all. With causal, query t of a row stands at
  // position lengths[b] - queries + t, so a decode step over a cache sees itself and the past.
  const int32_t* lengths = nullptr;
  const int32_t* segments = nullptr;  // (B,T): only equal segments attend to each other, or null
  const float* alibi_slopes =
      nullptr;  // (heads): adds -slope · distance (Press et al. 2021), or null

  // Dropout on the weights, drawn from Philox so that backward redraws it: counter (query, key / 4,
  // sample · heads + head, step), key (seed low + layer, seed high ^ kDropoutKey), word key % 4,
  // kept where the word is at least rate · 2³².
  static constexpr uint32_t kDropoutKey = 0xA77E4710;
  float dropout = 0;
  const uint32_t* random = nullptr;  // (4): seed low, seed high, step, first global sample index
  uint32_t layer = 0;
};
using Attention = AttentionOf<float>;

/// out (B,T,heads·D); lse (B,heads,T), the log of each row's sum of exponentials, may be null. A
/// row that sees no key gives 0 and -∞. head_dim may be up to 512 (ShapeError).
size_t attention_forward_scratch(const Attention& attention);
void attention_forward(const Context& context, const Attention& attention, float* out, float* lse,
                       std::byte* scratch);

/// Gradients with respect to q, k, v with the same strides as q, k, v (written, not added).
size_t attention_backward_scratch(const Attention& attention);
void attention_backward(const Context& context, const Attention& attention, const float* out,
                        const float* lse, const float* out_grad, float* q_grad, float* k_grad,
                        float* v_grad, std::byte* scratch);

/// The weights of one head (T,S), recomputed from Q, K and lse, for observation. Masked slots are
/// 0.
void attention_weights(const Attention& attention, const float* lse, int64_t batch, int64_t head,
                       float* weights);

}  // namespace quern::kernels::cpu
