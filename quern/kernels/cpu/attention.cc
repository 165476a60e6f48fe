#include "quern/kernels/cpu/attention.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quern/kernels/cpu/attention.cc"
#include <hwy/foreach_target.h>
//
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include "quern/kernels/cpu/attention-inl.h"
#include "quern/kernels/cpu/attention_padding.h"

HWY_BEFORE_NAMESPACE();
namespace quern::kernels::cpu {
namespace HWY_NAMESPACE {

constexpr int64_t kForwardKeys = 256;  // of a block of the online softmax
// Few queries (a decode step): one dot product a key, vectors along head_dim.
constexpr int64_t kFewQueries = 4;

// Maximum and sum of exponentials of every query so far.
struct Softmax {
  HWY_ALIGN float maximum[kQueries];
  HWY_ALIGN float sum[kQueries];
};

// scores -> 2^(scores - maximum), with the maximum of what came before and of these; `shrink` is
// what the earlier sums and outputs are to be multiplied by.
HWY_INLINE void exponentiate(float* scores, int64_t keys, int64_t width, Softmax& state,
                             float* shrink) {
  const F32 d;
  for (int64_t i = 0; i < width; i += kLanes) {
    const V32 before = hn::Load(d, state.maximum + i);
    V32 m0 = before;
    V32 m1 = before;
    int64_t j = 0;
    for (; j + 2 <= keys; j += 2) {
      m0 = hn::Max(m0, hn::Load(d, scores + j * kQueries + i));
      m1 = hn::Max(m1, hn::Load(d, scores + (j + 1) * kQueries + i));
    }
    if (j < keys) m0 = hn::Max(m0, hn::Load(d, scores + j * kQueries + i));
    m0 = hn::Max(m0, m1);
    hn::Store(m0, d, state.maximum + i);
    // A row that has seen nothing yet: any finite value keeps -∞ - m from being NaN.
    const V32 m = hn::Max(m0, hn::Set(d, -1e30F));
    const V32 factor = exp2(hn::Sub(before, m));
    hn::Store(factor, d, shrink + i);
    V32 sum = hn::Mul(hn::Load(d, state.sum + i), factor);
    for (j = 0; j < keys; ++j) {
      const V32 p = exp2(hn::Sub(hn::Load(d, scores + j * kQueries + i), m));
      hn::Store(p, d, scores + j * kQueries + i);
      sum = hn::Add(sum, p);
    }
    hn::Store(sum, d, state.sum + i);
  }
}

HWY_INLINE void scale_rows(float* x, int64_t row, int64_t rows, int64_t columns,
                           const float* factors) {
  const F32 d;
  for (int64_t i = 0; i < rows; ++i, x += row) {
    const V32 factor = hn::Set(d, factors[i]);
    int64_t c = 0;
    for (; c + kLanes <= columns; c += kLanes) {
      hn::StoreU(hn::Mul(factor, hn::LoadU(d, x + c)), d, x + c);
    }
    if (c < columns) {
      store_first(hn::Mul(factor, load_first(x + c, columns - c)), x + c, columns - c);
    }
  }
}

HWY_NOINLINE void forward_block(const Attention& a, const QueryBlock& block, float* out,
                                float* lse) {
  const F32 d;
  HWY_ALIGN float packed[kMaxHeadDim * kQueries];
  HWY_ALIGN float scores[kForwardKeys * kQueries];
  HWY_ALIGN float shrink[kQueries];
  const int64_t kv = block.head / (a.heads / a.kv_heads);
  const float* q = a.q + block.batch * a.q_batch + block.first * a.q_row + block.head * a.q_head;
  const float* k = a.k + block.batch * a.kv_batch + kv * a.kv_head;
  const float* v = a.v + block.batch * a.kv_batch + kv * a.kv_head;
  const int64_t out_row = a.heads * a.head_dim;
  float* o = out + (block.batch * a.queries + block.first) * out_row + block.head * a.head_dim;
  pack_queries(q, a.q_row, block.count, a.head_dim, a.scale * kLog2E, packed);
  Softmax state;
  for (int64_t i = 0; i < kQueries; i += kLanes) {
    hn::Store(hn::Set(d, kMinusInfinity), d, state.maximum + i);
    hn::Store(hn::Zero(d), d, state.sum + i);
  }
  const int64_t width = whole_vectors(block.count);
  bool first = true;
  for (int64_t j = block.key_begin; j < block.key_end; j += kForwardKeys) {
    const int64_t end = std::min(j + kForwardKeys, block.key_end);
    score_keys(a, block, k, packed, j, end, scores);
    exponentiate(scores, end - j, width, state, shrink);
    if (a.dropout > 0) drop(a, block, j, end, scores);
    if (!first) scale_rows(o, out_row, block.count, a.head_dim, shrink);
    multiply_all<true>(scores, kQueries, v + j * a.kv_row, a.kv_row, end - j, block.count,
                       a.head_dim, o, out_row, !first);
    first = false;
  }
  HWY_ALIGN float logs[kQueries];
  for (int64_t i = 0; i < width; i += kLanes) {
    const V32 sum = hn::Load(d, state.sum + i);
    const auto empty = hn::Eq(sum, hn::Zero(d));
    const V32 one = hn::Set(d, 1.0F);
    hn::Store(hn::Div(one, hn::IfThenElse(empty, one, sum)), d, shrink + i);
    const V32 log = hn::MulAdd(hn::Load(d, state.maximum + i), hn::Set(d, kLn2),
                               hn::Log(d, hn::IfThenElse(empty, one, sum)));
    hn::Store(hn::IfThenElse(empty, hn::Set(d, kMinusInfinity), log), d, logs + i);
  }
  if (first) {
    for (int64_t i = 0; i < block.count; ++i) std::fill_n(o + i * out_row, a.head_dim, 0.0F);
  } else {
    scale_rows(o, out_row, block.count, a.head_dim, shrink);
  }
  if (lse) {
    std::copy_n(logs, block.count,
                lse + (block.batch * a.heads + block.head) * a.queries + block.first);
  }
}

HWY_INLINE float dot(const float* x, const float* y, int64_t count) {
  const F32 d;
  V32 sum = hn::Zero(d);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    sum = hn::MulAdd(hn::LoadU(d, x + i), hn::LoadU(d, y + i), sum);
  }
  if (i < count) sum = hn::MulAdd(load_first(x + i, count - i), load_first(y + i, count - i), sum);
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

// o = shrink · o + Σ p[j] v[j], or without the first term.
HWY_INLINE void add_values(const float* p, const float* v, int64_t row, int64_t keys,
                           int64_t head_dim, float shrink, bool first, float* o) {
  const F32 d;
  for (int64_t c = 0; c < head_dim; c += kLanes) {
    const int64_t count = head_dim - c;
    const bool whole = count >= kLanes;
    V32 sum = hn::Zero(d);
    if (!first) {
      sum = hn::Mul(hn::Set(d, shrink), whole ? hn::LoadU(d, o + c) : load_first(o + c, count));
    }
    const float* from = v + c;
    for (int64_t j = 0; j < keys; ++j, from += row) {
      sum = hn::MulAdd(hn::Set(d, p[j]), whole ? hn::LoadU(d, from) : load_first(from, count), sum);
    }
    if (whole) {
      hn::StoreU(sum, d, o + c);
    } else {
      store_first(sum, o + c, count);
    }
  }
}

// One query at a time; the work is reading the keys and values that are valid, once.
HWY_NOINLINE void forward_few(const Attention& a, int64_t batch, int64_t head, float* out,
                              float* lse) {
  const F32 d;
  HWY_ALIGN float scores[kForwardKeys];
  const int64_t kv = head / (a.heads / a.kv_heads);
  const float* k = a.k + batch * a.kv_batch + kv * a.kv_head;
  const float* v = a.v + batch * a.kv_batch + kv * a.kv_head;
  for (int64_t t = 0; t < a.queries; ++t) {
    QueryBlock block = make_block(a, batch, head, t);
    block.count = 1;
    if (a.causal) {
      block.key_end = std::max(block.key_begin, std::min(block.valid, block.position + 1));
    }
    const float* q = a.q + batch * a.q_batch + t * a.q_row + head * a.q_head;
    float* o = out + (batch * a.queries + t) * a.heads * a.head_dim + head * a.head_dim;
    float maximum = kMinusInfinity;
    float sum = 0;
    bool first = true;
    for (int64_t j = block.key_begin; j < block.key_end; j += kForwardKeys) {
      const int64_t keys = std::min(kForwardKeys, block.key_end - j);
      const float before = maximum;
      for (int64_t i = 0; i < keys; ++i) {
        float s = dot(q, k + (j + i) * a.kv_row, a.head_dim) * a.scale * kLog2E;
        s -= block.slope * std::abs(static_cast<float>(block.position - j - i));
        if (a.segments && a.segments[batch * a.queries + j + i] != block.segments[0]) {
          s = kMinusInfinity;
        }
        scores[i] = s;
        maximum = std::max(maximum, s);
      }
      const float m = std::max(maximum, -1e30F);
      const float shrink = hn::GetLane(exp2(hn::Set(d, before - m)));
      V32 sums = hn::Zero(d);
      for (int64_t i = 0; i < keys; i += kLanes) {
        V32 p = exp2(hn::Sub(hn::Load(d, scores + i), hn::Set(d, m)));
        if (keys - i < kLanes) {
          p = hn::IfThenElseZero(hn::FirstN(d, static_cast<size_t>(keys - i)), p);
        }
        hn::Store(p, d, scores + i);
        sums = hn::Add(sums, p);
      }
      sum = sum * shrink + hn::GetLane(hn::SumOfLanes(d, sums));
      add_values(scores, v + j * a.kv_row, a.kv_row, keys, a.head_dim, shrink, first, o);
      first = false;
    }
    const float factor = sum > 0 ? 1 / sum : (sum == 0 ? 0 : sum);  // a NaN goes on
    if (first) {
      std::fill_n(o, a.head_dim, 0.0F);
    } else {
      scale_rows(o, 0, 1, a.head_dim, &factor);
    }
    if (lse) {
      lse[(batch * a.heads + head) * a.queries + t] =
          sum == 0 ? kMinusInfinity : maximum * kLn2 + std::log(sum);
    }
  }
}

void run_forward(const Context& context, const Attention& a, float* out, float* lse) {
  if (a.queries <= kFewQueries && a.dropout == 0) {
    context.pool.parallel_for(static_cast<size_t>(a.batch * a.heads),
                              [&](size_t index, int) HWY_ATTR {
                                const auto i = static_cast<int64_t>(index);
                                forward_few(a, i / a.heads, i % a.heads, out, lse);
                              });
    return;
  }
  const int64_t blocks = (a.queries + kQueries - 1) / kQueries;
  const auto task = [&](size_t index, int) HWY_ATTR {
    // The last blocks of a causal head are the longest: they go first.
    const auto i = static_cast<int64_t>(index);
    const int64_t pair = i / blocks;
    const int64_t first = (blocks - 1 - i % blocks) * kQueries;
    forward_block(a, make_block(a, pair / a.heads, pair % a.heads, first), out, lse);
  };
  context.pool.parallel_for(static_cast<size_t>(a.batch * a.heads * blocks), task);
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quern::kernels::cpu {

HWY_EXPORT(run_forward);

// Padding is for the tiles; a decode step reads exact rows and copies nothing.
static bool pads(const Attention& a) { return a.queries > 4 || a.dropout > 0; }

size_t attention_forward_scratch(const Attention& a) {
  if (!pads(a)) return 0;
  return sizeof(float) * static_cast<size_t>(padding_floats(a));
}

void attention_forward(const Context& context, const Attention& attention, float* out, float* lse,
                       std::byte* scratch) {
  check(attention);
  float* floats = reinterpret_cast<float*>(scratch);
  const Attention padded = pads(attention) ? pad(context, attention, floats) : attention;
  HWY_DYNAMIC_DISPATCH(run_forward)(context, padded, out, lse);
}

void attention_weights(const Attention& a, const float* lse, int64_t batch, int64_t head,
                       float* weights) {
  const int64_t kv = head / (a.heads / a.kv_heads);
  const int64_t valid =
      a.lengths ? std::clamp<int64_t>(a.lengths[batch], 0, a.capacity) : a.capacity;
  for (int64_t t = 0; t < a.queries; ++t) {
    const int64_t position = valid - a.queries + t;
    const float* q = a.q + batch * a.q_batch + t * a.q_row + head * a.q_head;
    const float log_sum = lse[(batch * a.heads + head) * a.queries + t];
    for (int64_t j = 0; j < a.capacity; ++j) {
      const int64_t distance = position - j;
      const bool seen =
          j < valid && !(a.causal && distance < 0) && !(a.window > 0 && distance >= a.window) &&
          !(a.segments && a.segments[batch * a.queries + t] != a.segments[batch * a.queries + j]);
      float weight = 0;
      if (seen) {
        const float* k = a.k + batch * a.kv_batch + j * a.kv_row + kv * a.kv_head;
        float score = 0;
        for (int64_t c = 0; c < a.head_dim; ++c) score += q[c] * k[c];
        score *= a.scale;
        if (a.alibi_slopes) {
          score -= a.alibi_slopes[head] * static_cast<float>(std::abs(distance));
        }
        weight = std::exp(score - log_sum);
      }
      weights[t * a.capacity + j] = weight;
    }
  }
}

}  // namespace quern::kernels::cpu
#endif
