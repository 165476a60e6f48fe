#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quern/kernels/cpu/attention_backward.cc"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include "quern/kernels/cpu/attention-inl.h"
#include "quern/kernels/cpu/attention_backward.h"
#include "quern/kernels/cpu/attention_padding.h"

HWY_BEFORE_NAMESPACE();
namespace quern::kernels::cpu {
namespace HWY_NAMESPACE {

constexpr int64_t kBackwardKeys = 96;  // whole tiles of rows; both buffers stay in the first cache

// p = 2^(scores - lse); ds = p · (dp - delta) · scale, dp already in ds. With dropout, `drop`
// turned dp before; p is left whole.
HWY_INLINE void score_gradients(float* p, float* ds, int64_t keys, int64_t width, const float* lse,
                                const float* delta, float scale) {
  const F32 d;
  const V32 factor = hn::Set(d, scale);
  for (int64_t i = 0; i < width; i += kLanes) {
    const V32 log_sum = hn::Load(d, lse + i);
    const V32 shift = hn::Load(d, delta + i);
    for (int64_t j = 0; j < keys; ++j) {
      float* at = p + j * kQueries + i;
      float* grad = ds + j * kQueries + i;
      // Rounding may put a score above its row's log-sum by a hair, never by more.
      const V32 weight = exp2(hn::Sub(hn::Load(d, at), log_sum));
      hn::Store(weight, d, at);
      hn::Store(hn::Mul(hn::Mul(weight, factor), hn::Sub(hn::Load(d, grad), shift)), d, grad);
    }
  }
}

HWY_NOINLINE void backward_block(const AttentionBackward& all, const QueryBlock& block,
                                 int64_t kv) {
  const F32 d;
  const Attention& a = all.a;
  const int64_t head_dim = a.head_dim;
  HWY_ALIGN float queries[kMaxHeadDim * kQueries];
  HWY_ALIGN float out_grads[kMaxHeadDim * kQueries];
  HWY_ALIGN float p[kBackwardKeys * kQueries];
  HWY_ALIGN float ds[kBackwardKeys * kQueries];
  HWY_ALIGN float lse[kQueries] = {};
  HWY_ALIGN float delta[kQueries] = {};
  const int64_t out_row = a.heads * head_dim;
  const int64_t out_at = (block.batch * a.queries + block.first) * out_row + block.head * head_dim;
  const float* q = a.q + block.batch * a.q_batch + block.first * a.q_row + block.head * a.q_head;
  const float* k = a.k + block.batch * a.kv_batch + kv * a.kv_head;
  const float* v = a.v + block.batch * a.kv_batch + kv * a.kv_head;
  const float* out_grad = all.padded_out_grad +
                          (block.batch * a.queries + block.first) * all.padded_row +
                          block.head * all.padded_head;
  float* q_grad =
      all.q_grad + block.batch * all.q_batch + block.first * all.q_row + block.head * all.q_head;
  float* k_grad = all.k_grad + block.batch * all.kv_batch + kv * all.kv_head;
  float* v_grad = all.v_grad + block.batch * all.kv_batch + kv * all.kv_head;

  pack_queries(q, a.q_row, block.count, head_dim, a.scale * kLog2E, queries);
  pack_queries(out_grad, all.padded_row, block.count, head_dim, 1, out_grads);
  for (int64_t i = 0; i < block.count; ++i) {
    const float* o = all.out + out_at + i * out_row;
    const float* g = all.out_grad + out_at + i * out_row;
    V32 sum = hn::Zero(d);
    int64_t c = 0;
    for (; c + kLanes <= head_dim; c += kLanes) {
      sum = hn::MulAdd(hn::LoadU(d, o + c), hn::LoadU(d, g + c), sum);
    }
    if (c < head_dim) {
      sum = hn::MulAdd(load_first(o + c, head_dim - c), load_first(g + c, head_dim - c), sum);
    }
    delta[i] = hn::GetLane(hn::SumOfLanes(d, sum));
    // A row that saw nothing: -∞ - x stays -∞, so that its weights are 0.
    const float log_sum =
        all.lse[(block.batch * a.heads + block.head) * a.queries + block.first + i];
    lse[i] = log_sum == kMinusInfinity ? 0 : log_sum * kLog2E;
  }

  const int64_t width = whole_vectors(block.count);
  bool first = true;
  for (int64_t j = block.key_begin; j < block.key_end; j += kBackwardKeys) {
    const int64_t end = std::min(j + kBackwardKeys, block.key_end);
    const int64_t keys = end - j;
    score_keys(a, block, k, queries, j, end, p);
    multiply_all<false>(v + j * a.kv_row, a.kv_row, out_grads, kQueries, head_dim, keys, width, ds,
                        kQueries, false);
    if (a.dropout > 0) drop(a, block, j, end, ds);
    score_gradients(p, ds, keys, width, lse, delta, a.scale);
    if (a.dropout > 0) drop(a, block, j, end, p);
    multiply_all<false>(p, kQueries, out_grad, all.padded_row, block.count, keys, head_dim,
                        v_grad + j * all.kv_row, all.kv_row, true);
    multiply_all<false>(ds, kQueries, q, a.q_row, block.count, keys, head_dim,
                        k_grad + j * all.kv_row, all.kv_row, true);
    multiply_all<true>(ds, kQueries, k + j * a.kv_row, a.kv_row, keys, block.count, head_dim,
                       q_grad, all.q_row, !first);
    first = false;
  }
  for (int64_t i = 0; first && i < block.count; ++i) {
    std::fill_n(q_grad + i * all.q_row, head_dim, 0.0F);
  }
}

// A task owns one key-value head of one batch row: its dK and dV are added to in a fixed order.
void run_backward(const Context& context, const AttentionBackward& all) {
  const Attention& a = all.a;
  const int64_t group = a.heads / a.kv_heads;
  const auto task = [&](size_t index, int) HWY_ATTR {
    const int64_t batch = static_cast<int64_t>(index) / a.kv_heads;
    const int64_t kv = static_cast<int64_t>(index) % a.kv_heads;
    const int64_t at = batch * all.kv_batch + kv * all.kv_head;
    for (int64_t j = 0; j < a.capacity; ++j) {
      std::fill_n(all.k_grad + at + j * all.kv_row, a.head_dim, 0.0F);
      std::fill_n(all.v_grad + at + j * all.kv_row, a.head_dim, 0.0F);
    }
    for (int64_t head = kv * group; head < (kv + 1) * group; ++head) {
      for (int64_t first = 0; first < a.queries; first += kQueries) {
        backward_block(all, make_block(a, batch, head, first), kv);
      }
    }
  };
  context.pool.parallel_for(static_cast<size_t>(a.batch * a.kv_heads), task);
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quern::kernels::cpu {

namespace {
HWY_EXPORT(run_backward);
}  // namespace

size_t attention_backward_scratch(const Attention& a) {
  const int64_t padded = padded_head_dim(a.head_dim);
  const int64_t out_grad = padded == a.head_dim ? 0 : a.batch * a.queries * a.heads * padded;
  return sizeof(float) * static_cast<size_t>(padding_floats(a) + out_grad);
}

void attention_backward(const Context& context, const Attention& attention, const float* out,
                        const float* lse, const float* out_grad, float* q_grad, float* k_grad,
                        float* v_grad, std::byte* scratch) {
  check(attention);
  float* floats = reinterpret_cast<float*>(scratch);
  AttentionBackward all;
  all.a = pad(context, attention, floats);
  all.out = out;
  all.lse = lse;
  all.out_grad = out_grad;
  all.padded_out_grad =
      pad_output(context, attention, out_grad, floats + padding_floats(attention));
  all.padded_head = padded_head_dim(attention.head_dim);
  all.padded_row = attention.heads * all.padded_head;
  all.q_grad = q_grad;
  all.k_grad = k_grad;
  all.v_grad = v_grad;
  all.q_batch = attention.q_batch;
  all.q_row = attention.q_row;
  all.q_head = attention.q_head;
  all.kv_batch = attention.kv_batch;
  all.kv_row = attention.kv_row;
  all.kv_head = attention.kv_head;
  HWY_DYNAMIC_DISPATCH(run_backward)(context, all);
}

}  // namespace quern::kernels::cpu
#endif
