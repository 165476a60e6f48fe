// Gradients of attention over bfloat16 on tensor cores (Dao 2023, "FlashAttention-2"): the weights
// are recomputed from the log-sum-exps, and go from the sums of one product into the operand of the
// next. One kernel walks the keys of each query, another the queries of each key, so no two add to
// one place. Reads attention_mma-inl.h.

#include <type_traits>

#include "quern/kernels/cuda/arguments.h"
#include "quern/kernels/cuda/attention_mma.h"
#include "quern/kernels/cuda/simt.h"

namespace quern::kernels::cuda::mma {

using Backward = arguments::AttentionBackward<BFloat16>;

/// A log-sum-exp in base 2; of a row that sees no key, any number.
QUERN_DEVICE float base_two(float lse) { return lse == -INFINITY ? 0 : lse * kLog2E; }
/// What dropout multiplies the weights that it keeps by.
QUERN_DEVICE float keep_scale(const Shape& at) { return 1 / (1 - at.dropout); }

/// The slope of a score, of which the score's scale is left out.
QUERN_DEVICE float slope(float weight, float weight_grad, float keep, float delta) {
  return weight * (weight_grad * keep - delta);
}

/// A query's log-sum-exp in base 2 and delta; one past the queries has none.
struct Statistics {
  float lse = 0, delta = 0;
};
QUERN_DEVICE Statistics statistics_of(const Backward& a, int t, int head) {
  const Shape& at = a.attention;
  if (t >= at.queries) return {};
  const int64_t row = (block_z() * at.heads + head) * at.queries + t;
  return {base_two(a.lse[row]), a.delta[row]};
}

/// Makes slopes of scores (16 queries by 8 · kColumns keys from `key` on), in place.
template <int kColumns, typename Queries>
QUERN_DEVICE void slopes_of(const Backward& a, const Queries& queries,
                            const Statistics (&statistics)[2], int key, bool masked,
                            float (&scores)[kColumns][4], float (&weight_grads)[kColumns][4]) {
  const Shape& at = a.attention;
  if (at.alibi_slopes != nullptr) add_bias<kColumns>(at, queries, key, scores);
  if (masked) select<kColumns>(seen_by<kColumns>(at, queries, key), -INFINITY, scores);
  if (at.dropout > 0)
    select<kColumns>(kept_by<kColumns>(at, a.threshold, queries, key), 0, weight_grads);
  const float keep = keep_scale(at);
  QUERN_UNROLL
  for (int n = 0; n < kColumns; ++n) {
    QUERN_UNROLL
    for (int i = 0; i < 4; ++i) {
      const float weight = exp2_fast(scores[n][i] * (at.scale * kLog2E) - statistics[i / 2].lse);
      scores[n][i] = slope(weight, weight_grads[n][i], keep, statistics[i / 2].delta);
    }
  }
}

/// A block 64 · kTiles queries of one head: the gradient of q.
template <int kDim>
QUERN_DEVICE void backward_q(const Backward& a) {
  constexpr int kTiles = query_tiles(kDim);
  constexpr int kWarpRows = kRows * kTiles;
  constexpr int kColumns = kTiles == 1 ? 4 : 2;
  const Shape& at = a.attention;
  const int head = static_cast<int>(block_y());
  const Sequence s = sequence_of(at, block_z());
  const int first = static_cast<int>(blocks_x() - 1 - block_x()) * kWarps * kWarpRows;
  const int warp_first = first + warp_index() * kWarpRows;
  const Walk walk = walk_keys(keys_of(at, s, first, kWarps * kWarpRows));
  const KeyStages<kDim> stages = key_stages<kDim>(at, head / (at.heads / at.kv_heads), walk.end);
  // Queries and gradients of out pass through where the stages will stand.
  BFloat16* query_tile = stages.tiles;
  BFloat16* grad_tile = query_tile + kWarps * kWarpRows * pitch_of(kDim);
  const int64_t out_row = at.heads * at.head_dim;
  const auto end = static_cast<int>(at.queries);
  copy_rows<kDim, kWarps * kWarpRows>(query_tile, at.q + block_z() * at.q_batch + head * at.q_head,
                                      at.q_row, first, end, at.head_dim);
  copy_rows<kDim, kWarps * kWarpRows>(
      grad_tile, a.out_grad + block_z() * at.queries * out_row + head * at.head_dim, out_row, first,
      end, at.head_dim);
  const auto queries = [&](int m, int half) {
    return query_of(at, block_z(), warp_first + m * kRows + half * 8 + group(), head);
  };
  Statistics statistics[kTiles][2];
  QUERN_UNROLL
  for (int m = 0; m < kTiles; ++m) {
    QUERN_UNROLL
    for (int half = 0; half < 2; ++half)
      statistics[m][half] = statistics_of(a, queries(m, half).t, head);
  }
  wait_copies();
  barrier();
  Rows<kDim> rows[kTiles];
  Rows<kDim> grads[kTiles];
  QUERN_UNROLL
  for (int m = 0; m < kTiles; ++m) {
    const int row = (warp_index() * kTiles + m) * kRows;
    load_rows<kDim>(rows[m], query_tile + row * pitch_of(kDim));
    load_rows<kDim>(grads[m], grad_tile + row * pitch_of(kDim));
  }
  barrier();
  stages.begin_copy(at, walk.begin, 0);
  const WarpKeys seen = warp_keys(at, s, warp_first, kWarpRows, head);
  float sums[kTiles][kDim / 8][4] = {};
  int stage = 0;
  QUERN_ROLLED
  for (int tile = walk.begin; tile < walk.end; tile += kKeys) {
    wait_copies();
    barrier();  // this stage is there, and the other is read by none
    stages.begin_copy(at, tile + kKeys, 1 - stage);
    QUERN_ROLLED
    for (int j = 0; j < kKeys; j += 8 * kColumns) {
      const int key = tile + j;
      if (!seen.any(key, 8 * kColumns)) continue;
      const BFloat16* keys = stages.keys(stage) + j * pitch_of(kDim);
      float scores[kTiles][kColumns][4];
      float weight_grads[kTiles][kColumns][4];
      score<kDim, kTiles, kColumns>(rows, keys, scores);
      score<kDim, kTiles, kColumns>(grads, stages.values(stage) + j * pitch_of(kDim), weight_grads);
      QUERN_UNROLL
      for (int m = 0; m < kTiles; ++m) {
        const auto of_tile = [&](int half) { return queries(m, half); };
        slopes_of<kColumns>(a, of_tile, statistics[m], key, !seen.all(key, 8 * kColumns), scores[m],
                            weight_grads[m]);
      }
      add_values<kDim, kTiles, kColumns>(scores, keys, sums);
    }
    stage = 1 - stage;
  }
  QUERN_UNROLL
  for (int m = 0; m < kTiles; ++m) {
    QUERN_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int t = queries(m, half).t;
      if (t >= at.queries) continue;
      write_sums<kDim>(sums[m], half, at.scale,
                       a.q_grad + block_z() * at.q_batch + head * at.q_head + t * at.q_row,
                       at.head_dim);
    }
  }
}

// The next three work on sums of 16 keys by 8 · kColumns queries from `t` on; this lane's rows are
// keys `key` and key + 8.

template <int kColumns>
QUERN_DEVICE void add_bias_of_keys(const Shape& at, int head, int key, int t,
                                   float (&scores)[kColumns][4]) {
  const float slope = slope_of(at, head);
  const int position = static_cast<int>(sequence_of(at, block_z()).first_position) + t + pair();
  QUERN_UNROLL
  for (int n = 0; n < kColumns; ++n) {
    QUERN_UNROLL
    for (int i = 0; i < 4; ++i)
      scores[n][i] -= slope * distance(position + 8 * n + i % 2, key + i / 2 * 8);
  }
}
/// Bit 4 n + i: whether value i of column n is of a query that sees the key.
template <int kColumns>
QUERN_DEVICE uint32_t seen_of_keys(const Shape& at, int head, int key, int t) {
  uint32_t seen = 0;
  QUERN_ROLLED
  for (int n = 0; n < kColumns; ++n) {
    QUERN_UNROLL
    for (int c = 0; c < 2; ++c) {
      const Query q = query_of(at, block_z(), t + 8 * n + pair() + c, head);
      seen |= static_cast<uint32_t>(sees(at, block_z(), q, key)) << (4 * n + c);
      seen |= static_cast<uint32_t>(sees(at, block_z(), q, key + 8)) << (4 * n + 2 + c);
    }
  }
  return seen;
}
/// Bit 4 n + i: whether dropout keeps value i of column n. Four lanes hold the four keys of a draw,
/// twice for each of two queries: each lane makes one of those four draws.
template <int kColumns>
QUERN_DEVICE uint32_t kept_of_keys(const Shape& at, uint32_t threshold, int head, int key, int t) {
  const Draw draw = draw_of(at, threshold, block_z());
  const int word = group() % 4;
  uint32_t kept = 0;
  QUERN_ROLLED
  for (int n = 0; n < kColumns; ++n) {
    uint32_t draws = kept_of_four(draw, t + 8 * n + pair() + word % 2, head, key + word / 2 * 8)
                     << 4 * word;
    draws |= shuffle_xor(draws, 4);
    draws |= shuffle_xor(draws, 8);
    QUERN_UNROLL
    for (int i = 0; i < 4; ++i) kept |= (draws >> (4 * i + word) & 1U) << (4 * n + i);
  }
  return kept;
}

/// Queries and gradients of out in two stages of shared memory, with the queries' log-sum-exps and
/// deltas behind them.
template <int kDim>
struct QueryStages {
  static constexpr int kCount = backward_queries(kDim);
  static constexpr int kTile = kCount * pitch_of(kDim);
  BFloat16* tiles;
  float* statistics;

  QUERN_MEMBER BFloat16* queries(int stage) const { return tiles + stage * 2 * kTile; }
  QUERN_MEMBER BFloat16* grads(int stage) const { return queries(stage) + kTile; }
  QUERN_MEMBER float* lse(int stage) const { return statistics + stage * 2 * kCount; }
  QUERN_MEMBER float* delta(int stage) const { return lse(stage) + kCount; }
  QUERN_MEMBER void begin_copy(const Backward& a, int head, int t, int stage) const {
    const Shape& at = a.attention;
    const int64_t out_row = at.heads * at.head_dim;
    const auto end = static_cast<int>(at.queries);
    copy_rows<kDim, kCount>(queries(stage), at.q + block_z() * at.q_batch + head * at.q_head,
                            at.q_row, t, end, at.head_dim);
    copy_rows<kDim, kCount>(grads(stage),
                            a.out_grad + block_z() * at.queries * out_row + head * at.head_dim,
                            out_row, t, end, at.head_dim);
    const int i = static_cast<int>(thread_index()) % kCount;
    const bool of_delta = thread_index() >= kCount;
    if (thread_index() >= 2 * kCount) return;
    const int64_t row = (block_z() * at.heads + head) * at.queries;
    const float* from = (of_delta ? a.delta : a.lse) + row;
    copy_async<4>((of_delta ? delta(stage) : lse(stage)) + i, t + i < end ? from + t + i : from,
                  t + i < end);
  }
};

template <int kDim>
QUERN_DEVICE void hold(Rows<kDim>& rows, const BFloat16* tile) {
  load_rows<kDim>(rows, tile);
}
template <int kDim>
QUERN_DEVICE void hold(SharedRows<kDim>& rows, const BFloat16* tile) {
  rows.tile = tile;
}

/// A block 64 keys of one key-value head: the gradients of k and v, over all heads that read them.
template <int kDim>
QUERN_DEVICE void backward_kv(const Backward& a) {
  constexpr int kColumns = 2;
  constexpr bool kKeysStay = keys_stay(kDim);
  using Stages = QueryStages<kDim>;
  using Operands = std::conditional_t<kKeysStay, SharedRows<kDim>, Rows<kDim>>;
  const Shape& at = a.attention;
  const Sequence s = sequence_of(at, block_z());
  const int first = static_cast<int>(block_x()) * kKeys;
  const int warp_first = first + warp_index() * kRows;
  const int key = warp_first + group();
  const int64_t kv = block_z() * at.kv_batch + block_y() * at.kv_head;
  auto* tiles = reinterpret_cast<BFloat16*>(dynamic_shared());
  const Stages stages{tiles, reinterpret_cast<float*>(tiles + 4 * Stages::kTile)};
  // Keys and values pass through where the stages will stand, or stay behind them.
  static_assert(kKeysStay || 4 * Stages::kCount >= 2 * kKeys);
  BFloat16* key_tile =
      kKeysStay ? reinterpret_cast<BFloat16*>(stages.statistics + 4 * Stages::kCount) : tiles;
  BFloat16* value_tile = key_tile + kKeys * pitch_of(kDim);
  const auto valid = static_cast<int>(s.valid);
  copy_rows<kDim, kKeys>(key_tile, at.k + kv, at.kv_row, first, valid, at.head_dim);
  copy_rows<kDim, kKeys>(value_tile, at.v + kv, at.kv_row, first, valid, at.head_dim);
  wait_copies();
  barrier();
  Operands keys[1];
  Operands values[1];
  hold(keys[0], key_tile + warp_index() * kRows * pitch_of(kDim));
  hold(values[0], value_tile + warp_index() * kRows * pitch_of(kDim));
  barrier();

  const Span span = queries_of(at, s, first, kKeys);
  const auto begin = static_cast<int>(span.begin);
  const auto heads = static_cast<int>(at.heads / at.kv_heads);
  const int of_head = first < s.valid
                          ? static_cast<int>(divide_up(larger(0, span.end - begin), Stages::kCount))
                          : 0;
  const auto head_of = [&](int i) { return static_cast<int>(block_y()) * heads + i / of_head; };
  const auto query_at = [&](int i) { return begin + i % of_head * Stages::kCount; };
  const float keep = keep_scale(at);
  float k_sums[1][kDim / 8][4] = {};
  float v_sums[1][kDim / 8][4] = {};
  if (of_head > 0) stages.begin_copy(a, head_of(0), query_at(0), 0);
  QUERN_ROLLED
  for (int i = 0; i < heads * of_head; ++i) {
    wait_copies();
    barrier();  // this stage is there, and the other is read by none
    if (i + 1 < heads * of_head) stages.begin_copy(a, head_of(i + 1), query_at(i + 1), 1 - i % 2);
    const int head = head_of(i);
    QUERN_ROLLED
    for (int row = 0; row < Stages::kCount; row += 8 * kColumns) {
      const int t = query_at(i) + row;
      const int last = static_cast<int>(smaller(at.queries, t + 8 * kColumns)) - 1;
      if (t > last) break;
      const Query from = query_of(at, block_z(), t, head);
      const Query to = query_of(at, block_z(), last, head);
      if (warp_first >= to.high || warp_first + kRows <= from.low) continue;
      const bool masked = at.segments != nullptr || warp_first < to.low ||
                          warp_first + kRows > from.high || t + 8 * kColumns > at.queries;
      const BFloat16* queries = stages.queries(i % 2) + row * pitch_of(kDim);
      const BFloat16* grads = stages.grads(i % 2) + row * pitch_of(kDim);
      float weights[1][kColumns][4];
      float slopes[1][kColumns][4];
      score<kDim, 1, kColumns>(keys, queries, weights);
      score<kDim, 1, kColumns>(values, grads, slopes);
      if (at.alibi_slopes != nullptr) add_bias_of_keys<kColumns>(at, head, key, t, weights[0]);
      if (masked) select<kColumns>(seen_of_keys<kColumns>(at, head, key, t), -INFINITY, weights[0]);
      const uint32_t kept =
          at.dropout > 0 ? kept_of_keys<kColumns>(at, a.threshold, head, key, t) : ~0U;
      select<kColumns>(kept, 0, slopes[0]);
      QUERN_UNROLL
      for (int n = 0; n < kColumns; ++n) {
        QUERN_UNROLL
        for (int c = 0; c < 4; ++c) {
          const int column = row + 8 * n + pair() + c % 2;
          const float weight = exp2_fast(weights[0][n][c] * (at.scale * kLog2E) -
                                         base_two(stages.lse(i % 2)[column]));
          weights[0][n][c] = weight;
          slopes[0][n][c] = slope(weight, slopes[0][n][c], keep, stages.delta(i % 2)[column]);
        }
      }
      select<kColumns>(kept, 0, weights[0]);
      add_values<kDim, 1, kColumns>(weights, grads, v_sums);
      add_values<kDim, 1, kColumns>(slopes, queries, k_sums);
    }
  }
  QUERN_UNROLL
  for (int half = 0; half < 2; ++half) {
    const int j = key + 8 * half;
    if (j >= at.capacity) continue;
    write_sums<kDim>(k_sums[0], half, at.scale, a.k_grad + kv + j * at.kv_row, at.head_dim);
    write_sums<kDim>(v_sums[0], half, keep, a.v_grad + kv + j * at.kv_row, at.head_dim);
  }
}

QUERN_BOUNDED_KERNEL(quern_attention_mma_backward_q_32, Backward, kThreads, 2) {
  backward_q<32>(a);
}
QUERN_BOUNDED_KERNEL(quern_attention_mma_backward_q_64, Backward, kThreads, 2) {
  backward_q<64>(a);
}
QUERN_BOUNDED_KERNEL(quern_attention_mma_backward_q_128, Backward, kThreads, 2) {
  backward_q<128>(a);
}
QUERN_BOUNDED_KERNEL(quern_attention_mma_backward_kv_32, Backward, kThreads, 2) {
  backward_kv<32>(a);
}
QUERN_BOUNDED_KERNEL(quern_attention_mma_backward_kv_64, Backward, kThreads, 2) {
  backward_kv<64>(a);
}
QUERN_BOUNDED_KERNEL(quern_attention_mma_backward_kv_128, Backward, kThreads, 2) {
  backward_kv<128>(a);
}

}  // namespace quern::kernels::cuda::mma
