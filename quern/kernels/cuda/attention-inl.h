// Attention in float32, tiled with an online softmax (Dao et al. 2022, "FlashAttention"): tiles of
// 16 queries by 16 keys, a thread a score. Backward recomputes the weights from the log-sum-exp;
// one kernel walks the keys of each query, another the queries of each key, so no two add to one
// place.

#include "quern/kernels/cuda/arguments.h"
#include "quern/kernels/cuda/attention_tile.h"
#include "quern/kernels/cuda/simt.h"

namespace quern::kernels::cuda {

/// The queries of one batch row: its keys, and where its first query stands.
struct Sequence {
  int64_t batch, valid, first_position;
};
template <typename T>
QUERN_DEVICE Sequence sequence_of(const cpu::AttentionOf<T>& a, int64_t batch) {
  const int64_t valid = valid_length(a.lengths, batch, a.capacity);
  return {batch, valid, valid - a.queries};
}

template <typename T>
QUERN_DEVICE bool sees(const cpu::AttentionOf<T>& a, const Sequence& s, int64_t t, int64_t j) {
  const int64_t position = s.first_position + t;
  if (t >= a.queries || j >= s.valid || (a.causal && j > position)) return false;
  if (a.window > 0 && j <= position - a.window) return false;
  if (a.segments == nullptr) return true;
  const int32_t* segments = a.segments + s.batch * a.queries;
  return segments[t] == segments[j];
}

/// Keys that any of the queries first .. first + count - 1 sees lie in begin .. end - 1.
struct Span {
  int64_t begin, end;
};
template <typename T>
QUERN_DEVICE Span keys_of(const cpu::AttentionOf<T>& a, const Sequence& s, int64_t first,
                          int64_t count) {
  const int64_t position = s.first_position + first;
  Span span{0, s.valid};
  if (a.causal) span.end = smaller(s.valid, position + count);
  if (a.window > 0) span.begin = larger(0, position - a.window + 1);
  return span;
}
/// Queries that see any of the keys first .. first + count - 1.
template <typename T>
QUERN_DEVICE Span queries_of(const cpu::AttentionOf<T>& a, const Sequence& s, int64_t first,
                             int64_t count) {
  Span span{0, a.queries};
  if (a.causal) span.begin = larger(0, first - s.first_position);
  if (a.window > 0) span.end = smaller(a.queries, first + count - 1 + a.window - s.first_position);
  return span;
}

/// What dropout multiplies the weight of (query, key) by.
template <typename T>
QUERN_DEVICE float keep_factor(const cpu::AttentionOf<T>& a, uint32_t threshold, int64_t batch,
                               int64_t head, int64_t t, int64_t j) {
  if (a.dropout <= 0) return 1;
  const auto pair =
      static_cast<uint32_t>((static_cast<int64_t>(a.random[3]) + batch) * a.heads + head);
  uint32_t words[4] = {static_cast<uint32_t>(t), static_cast<uint32_t>(j / 4), pair, a.random[2]};
  philox(words, a.random[0] + a.layer, a.random[1] ^ cpu::Attention::kDropoutKey);
  return words[j % 4] < threshold ? 0 : 1 / (1 - a.dropout);
}

template <typename T>
QUERN_DEVICE float alibi(const cpu::AttentionOf<T>& a, const Sequence& s, int64_t head, int64_t t,
                         int64_t j) {
  if (a.alibi_slopes == nullptr) return 0;
  const int64_t distance = s.first_position + t - j;
  return a.alibi_slopes[head] * static_cast<float>(distance < 0 ? -distance : distance);
}

/// Rows first .. first + 15 of x into a tile; what is beyond `end` is zero.
template <typename T>
QUERN_DEVICE void load_tile(const T* x, int64_t row_stride, int64_t first, int64_t end,
                            int64_t head_dim, float* tile) {
  for (int64_t i = thread_index(); i < kAttentionTile * head_dim; i += thread_count()) {
    const int64_t row = i / head_dim;
    const int64_t d = i % head_dim;
    const bool inside = first + row < end;
    tile[row * (head_dim + 1) + d] =
        inside ? static_cast<float>(x[(first + row) * row_stride + d]) : 0.0F;
  }
}
QUERN_DEVICE float dot(const float* x, const float* y, int64_t count) {
  float sum = 0;
  for (int64_t d = 0; d < count; ++d) sum += x[d] * y[d];
  return sum;
}

/// Over the 16 threads of a row.
QUERN_DEVICE float row_sum(float value) {
  for (int lanes = 8; lanes > 0; lanes /= 2) value += shuffle_xor(value, lanes);
  return value;
}
QUERN_DEVICE float row_max(float value) {
  for (int lanes = 8; lanes > 0; lanes /= 2) value = largest(value, shuffle_xor(value, lanes));
  return value;
}

constexpr int kHeadColumns = static_cast<int>(kMaxHeadDim / kAttentionTile);

/// sums[n] = sums[n] · factor + Σ_j weights[j] · tile[j][column + 16 n].
QUERN_DEVICE void add_weighted(float (&sums)[kHeadColumns], float factor, const float* weights,
                               const float* tile, int64_t column, int64_t head_dim) {
#ifdef __CUDACC__
#pragma unroll
#endif
  for (int n = 0; n < kHeadColumns; ++n) {
    const int64_t d = column + n * kAttentionTile;
    if (d >= head_dim) break;
    float sum = sums[n] * factor;
    for (int64_t j = 0; j < kAttentionTile; ++j) sum += weights[j] * tile[j * (head_dim + 1) + d];
    sums[n] = sum;
  }
}
template <typename T>
QUERN_DEVICE void write_row(const float (&sums)[kHeadColumns], float factor, T* to, int64_t column,
                            int64_t head_dim) {
#ifdef __CUDACC__
#pragma unroll
#endif
  for (int n = 0; n < kHeadColumns; ++n) {
    const int64_t d = column + n * kAttentionTile;
    if (d >= head_dim) break;
    to[d] = sums[n] * factor;
  }
}

/// A block 16 queries of one head.
QUERN_TYPED_COOPERATIVE_KERNEL(quern_attention_forward, arguments::Attention) {
  QUERN_SHARED float weights[kAttentionTile][kAttentionTile + 1];
  const cpu::AttentionOf<T>& at = a.attention;
  const int64_t head = block_y();
  const Sequence s = sequence_of(at, block_z());
  const int64_t first = block_x() * kAttentionTile;
  const int64_t row = thread_index() / kAttentionTile;
  const int64_t column = thread_index() % kAttentionTile;
  const int64_t t = first + row;
  const int64_t width = at.head_dim + 1;
  float* queries = dynamic_shared();
  float* tile = queries + kAttentionTile * width;
  const int64_t kv = s.batch * at.kv_batch + head / (at.heads / at.kv_heads) * at.kv_head;
  load_tile(at.q + s.batch * at.q_batch + head * at.q_head, at.q_row, first, at.queries,
            at.head_dim, queries);

  float sums[kHeadColumns] = {};
  float most = -INFINITY;
  float total = 0;
  const Span span = keys_of(at, s, first, kAttentionTile);
  for (int64_t key = span.begin; key < span.end; key += kAttentionTile) {
    barrier();
    load_tile(at.k + kv, at.kv_row, key, s.valid, at.head_dim, tile);
    barrier();
    const int64_t j = key + column;
    const bool seen = sees(at, s, t, j);
    const float score =
        seen ? dot(queries + row * width, tile + column * width, at.head_dim) * at.scale -
                   alibi(at, s, head, t, j)
             : -INFINITY;
    const float larger_most = largest(most, row_max(score));
    const float factor = most == -INFINITY ? 0 : expf(most - larger_most);
    const float weight = seen ? expf(score - larger_most) : 0;
    total = total * factor + row_sum(weight);
    most = larger_most;
    weights[row][column] = seen ? weight * keep_factor(at, a.threshold, s.batch, head, t, j) : 0;
    barrier();
    load_tile(at.v + kv, at.kv_row, key, s.valid, at.head_dim, tile);
    barrier();
    add_weighted(sums, factor, weights[row], tile, column, at.head_dim);
  }
  if (t >= at.queries) return;
  write_row(sums, total > 0 ? 1 / total : 0,
            a.out + ((s.batch * at.queries + t) * at.heads + head) * at.head_dim, column,
            at.head_dim);
  if (a.lse != nullptr && column == 0) {
    a.lse[(s.batch * at.heads + head) * at.queries + t] =
        total > 0 ? most + logf(total) : -INFINITY;
  }
}

/// A warp a row of one head.
QUERN_TYPED_COOPERATIVE_KERNEL(quern_attention_delta, arguments::AttentionBackward) {
  const cpu::AttentionOf<T>& at = a.attention;
  const int64_t rows = at.batch * at.queries * at.heads;
  for (int64_t i = grid_warp(); i < rows; i += grid_warps()) {
    float sum = 0;
    for (int64_t d = lane(); d < at.head_dim; d += kWarp)
      sum += static_cast<float>(a.out[i * at.head_dim + d]) *
             static_cast<float>(a.out_grad[i * at.head_dim + d]);
    sum = warp_sum(sum);
    if (lane() != 0) continue;
    const int64_t head = i % at.heads;
    const int64_t t = i / at.heads % at.queries;
    a.delta[(i / (at.heads * at.queries) * at.heads + head) * at.queries + t] = sum;
  }
}

/// The weight of (query, key) before dropout, and the slope of its score.
struct WeightPair {
  float weight, kept, slope;
};
template <typename T>
QUERN_DEVICE WeightPair recompute(const arguments::AttentionBackward<T>& a, const Sequence& s,
                                  int64_t head, int64_t t, int64_t j, float score,
                                  float weight_grad) {
  const cpu::AttentionOf<T>& at = a.attention;
  if (!sees(at, s, t, j)) return {0, 0, 0};
  const int64_t row = (s.batch * at.heads + head) * at.queries + t;
  const float weight = expf(score * at.scale - alibi(at, s, head, t, j) - a.lse[row]);
  const float keep = keep_factor(at, a.threshold, s.batch, head, t, j);
  return {weight, weight * keep, weight * (keep * weight_grad - a.delta[row]) * at.scale};
}

/// A block 16 queries of one head: the gradient of q.
QUERN_TYPED_COOPERATIVE_KERNEL(quern_attention_backward_q, arguments::AttentionBackward) {
  QUERN_SHARED float slopes[kAttentionTile][kAttentionTile + 1];
  const cpu::AttentionOf<T>& at = a.attention;
  const int64_t head = block_y();
  const Sequence s = sequence_of(at, block_z());
  const int64_t first = block_x() * kAttentionTile;
  const int64_t row = thread_index() / kAttentionTile;
  const int64_t column = thread_index() % kAttentionTile;
  const int64_t width = at.head_dim + 1;
  float* queries = dynamic_shared();
  float* grads = queries + kAttentionTile * width;
  float* keys = grads + kAttentionTile * width;
  float* values = keys + kAttentionTile * width;
  const int64_t q = s.batch * at.q_batch + head * at.q_head;
  const int64_t kv = s.batch * at.kv_batch + head / (at.heads / at.kv_heads) * at.kv_head;
  const int64_t out_row = at.heads * at.head_dim;
  load_tile(at.q + q, at.q_row, first, at.queries, at.head_dim, queries);
  load_tile(a.out_grad + s.batch * at.queries * out_row + head * at.head_dim, out_row, first,
            at.queries, at.head_dim, grads);

  float sums[kHeadColumns] = {};
  const Span span = keys_of(at, s, first, kAttentionTile);
  for (int64_t key = span.begin; key < span.end; key += kAttentionTile) {
    barrier();
    load_tile(at.k + kv, at.kv_row, key, s.valid, at.head_dim, keys);
    load_tile(at.v + kv, at.kv_row, key, s.valid, at.head_dim, values);
    barrier();
    const float score = dot(queries + row * width, keys + column * width, at.head_dim);
    const float weight_grad = dot(grads + row * width, values + column * width, at.head_dim);
    slopes[row][column] =
        recompute(a, s, head, first + row, key + column, score, weight_grad).slope;
    barrier();
    add_weighted(sums, 1, slopes[row], keys, column, at.head_dim);
  }
  if (first + row >= at.queries) return;
  write_row(sums, 1, a.q_grad + q + (first + row) * at.q_row, column, at.head_dim);
}

/// A block 16 keys of one key-value head: the gradients of k and v, over all heads that read them.
QUERN_TYPED_COOPERATIVE_KERNEL(quern_attention_backward_kv, arguments::AttentionBackward) {
  QUERN_SHARED float slopes[kAttentionTile][kAttentionTile + 1];
  QUERN_SHARED float weights[kAttentionTile][kAttentionTile + 1];
  const cpu::AttentionOf<T>& at = a.attention;
  const Sequence s = sequence_of(at, block_z());
  const int64_t first = block_x() * kAttentionTile;
  const int64_t row = thread_index() / kAttentionTile;
  const int64_t column = thread_index() % kAttentionTile;
  const int64_t width = at.head_dim + 1;
  float* keys = dynamic_shared();
  float* values = keys + kAttentionTile * width;
  float* queries = values + kAttentionTile * width;
  float* grads = queries + kAttentionTile * width;
  const int64_t kv = s.batch * at.kv_batch + block_y() * at.kv_head;
  const int64_t out_row = at.heads * at.head_dim;
  load_tile(at.k + kv, at.kv_row, first, s.valid, at.head_dim, keys);
  load_tile(at.v + kv, at.kv_row, first, s.valid, at.head_dim, values);

  float k_sums[kHeadColumns] = {};
  float v_sums[kHeadColumns] = {};
  const int64_t group = at.heads / at.kv_heads;
  const Span span = queries_of(at, s, first, kAttentionTile);
  for (int64_t head = block_y() * group; head < (block_y() + 1) * group; ++head) {
    for (int64_t t = span.begin; t < span.end; t += kAttentionTile) {
      barrier();
      load_tile(at.q + s.batch * at.q_batch + head * at.q_head, at.q_row, t, at.queries,
                at.head_dim, queries);
      load_tile(a.out_grad + s.batch * at.queries * out_row + head * at.head_dim, out_row, t,
                at.queries, at.head_dim, grads);
      barrier();
      const float score = dot(keys + row * width, queries + column * width, at.head_dim);
      const float weight_grad = dot(values + row * width, grads + column * width, at.head_dim);
      const WeightPair pair = recompute(a, s, head, t + column, first + row, score, weight_grad);
      slopes[row][column] = pair.slope;
      weights[row][column] = pair.kept;
      barrier();
      add_weighted(k_sums, 1, slopes[row], queries, column, at.head_dim);
      add_weighted(v_sums, 1, weights[row], grads, column, at.head_dim);
    }
  }
  if (first + row >= at.capacity) return;
  write_row(k_sums, 1, a.k_grad + kv + (first + row) * at.kv_row, column, at.head_dim);
  write_row(v_sums, 1, a.v_grad + kv + (first + row) * at.kv_row, column, at.head_dim);
}

}  // namespace quern::kernels::cuda
