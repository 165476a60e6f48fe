// Attention over bfloat16 on tensor cores (Dao 2023, "FlashAttention-2"): products of 16 x 8 x 16
// with float32 sums, keys and values copied into shared memory a tile ahead, an online softmax in
// registers, and weights that go from the sums of one product into the operand of the next. Reads
// attention-inl.h and attention_fragments-inl.h.

#include "quern/kernels/cuda/arguments.h"
#include "quern/kernels/cuda/attention_mma.h"
#include "quern/kernels/cuda/simt.h"

namespace quern::kernels::cuda::mma {

using Shape = cpu::AttentionOf<BFloat16>;

constexpr float kLog2E = 1.4426950408889634F;
constexpr float kLn2 = 0.6931471805599453F;

/// A query: keys low .. high - 1 are those it may see.
struct Query {
  int t, head, position, low, high;
};
QUERN_DEVICE Query query_of(const Shape& at, int64_t batch, int t, int head) {
  const Sequence s = sequence_of(at, batch);
  Query q{t, head, static_cast<int>(s.first_position) + t, 0, static_cast<int>(s.valid)};
  if (at.causal && q.position < q.high) q.high = q.position + 1;
  if (at.window > 0) q.low = static_cast<int>(larger(0, q.position - at.window + 1));
  if (t >= at.queries) q.high = 0;
  return q;
}
QUERN_DEVICE bool sees(const Shape& at, int64_t batch, const Query& q, int j) {
  if (j < q.low || j >= q.high) return false;
  if (at.segments == nullptr) return true;
  const int32_t* segments = at.segments + batch * at.queries;
  return segments[q.t] == segments[j];
}
/// ALiBi's slope of a head for products that are not scaled yet.
QUERN_DEVICE float slope_of(const Shape& at, int head) {
  return at.alibi_slopes[head < at.heads ? head : 0] / at.scale;
}
QUERN_DEVICE float distance(int position, int j) {
  return static_cast<float>(position < j ? j - position : position - j);
}

/// The numbers that dropout draws (cpu::AttentionOf).
struct Draw {
  uint32_t key0, key1, step, first_pair, threshold;
};
QUERN_DEVICE Draw draw_of(const Shape& at, uint32_t threshold, int64_t batch) {
  const int64_t first = (static_cast<int64_t>(at.random[3]) + batch) * at.heads;
  return {at.random[0] + at.layer, at.random[1] ^ cpu::Attention::kDropoutKey, at.random[2],
          static_cast<uint32_t>(first), threshold};
}
/// Bit i: whether query t of a head keeps the weight of key 4 · (key / 4) + i.
QUERN_DEVICE uint32_t kept_of_four(const Draw& draw, int t, int head, int key) {
  uint32_t words[4] = {static_cast<uint32_t>(t), static_cast<uint32_t>(key / 4),
                       draw.first_pair + static_cast<uint32_t>(head), draw.step};
  philox(words, draw.key0, draw.key1);
  uint32_t bits = 0;
  for (int i = 0; i < 4; ++i) bits |= static_cast<uint32_t>(words[i] >= draw.threshold) << i;
  return bits;
}
/// Bit i: whether value i of this lane's sums (queries by 8 keys from `key`) is kept. Two lanes
/// share the four keys of a draw: one draws for the upper row, one for the lower.
QUERN_DEVICE uint32_t kept_of_queries(const Draw& draw, const Query& upper, const Query& lower,
                                      int key) {
  const bool odd = lane_index() % 2 != 0;
  const uint32_t mine =
      kept_of_four(draw, odd ? lower.t : upper.t, odd ? lower.head : upper.head, key + pair());
  const uint32_t other = shuffle_xor(mine, 1);
  const uint32_t above = odd ? other : mine;
  const uint32_t below = odd ? mine : other;
  const int shift = odd ? 2 : 0;
  return (above >> shift & 3U) | (below >> shift & 3U) << 2;
}

/// The keys that a block walks, from the start of a tile.
struct Walk {
  int begin, end;
};
QUERN_DEVICE Walk walk_keys(const Span& span) {
  return {static_cast<int>(span.begin) / kKeys * kKeys, static_cast<int>(span.end)};
}

// The next three work on sums of 16 queries by 8 · kColumns keys from `key` on. `queries` gives the
// Query of this lane's upper (0) and lower (1) row: made anew where it is needed, which is seldom,
// so that it takes no registers where it is not.

template <int kColumns, typename Queries>
QUERN_DEVICE void add_bias(const Shape& at, const Queries& queries, int key,
                           float (&scores)[kColumns][4]) {
  QUERN_UNROLL
  for (int half = 0; half < 2; ++half) {
    const Query q = queries(half);
    const float slope = slope_of(at, q.head);
    QUERN_UNROLL
    for (int n = 0; n < kColumns; ++n) {
      QUERN_UNROLL
      for (int i = 0; i < 2; ++i)
        scores[n][2 * half + i] -= slope * distance(q.position, key + 8 * n + pair() + i);
    }
  }
}
/// Bit 4 n + i: whether value i of column n is of a query that sees the key.
template <int kColumns, typename Queries>
QUERN_DEVICE uint32_t seen_by(const Shape& at, const Queries& queries, int key) {
  const Query rows[2] = {queries(0), queries(1)};
  uint32_t seen = 0;
  QUERN_ROLLED
  for (int n = 0; n < kColumns; ++n) {
    QUERN_UNROLL
    for (int i = 0; i < 4; ++i) {
      const bool sees_it = sees(at, block_z(), rows[i / 2], key + 8 * n + pair() + i % 2);
      seen |= static_cast<uint32_t>(sees_it) << (4 * n + i);
    }
  }
  return seen;
}
/// Bit 4 n + i: whether dropout keeps value i of column n.
template <int kColumns, typename Queries>
QUERN_DEVICE uint32_t kept_by(const Shape& at, uint32_t threshold, const Queries& queries,
                              int key) {
  const Draw draw = draw_of(at, threshold, block_z());
  const Query rows[2] = {queries(0), queries(1)};
  uint32_t kept = 0;
  QUERN_ROLLED
  for (int n = 0; n < kColumns; ++n)
    kept |= kept_of_queries(draw, rows[0], rows[1], key + 8 * n) << 4 * n;
  return kept;
}
/// Puts `other` where a bit is not set.
template <int kColumns>
QUERN_DEVICE void select(uint32_t bits, float other, float (&values)[kColumns][4]) {
  QUERN_UNROLL
  for (int n = 0; n < kColumns; ++n) {
    QUERN_UNROLL
    for (int i = 0; i < 4; ++i)
      values[n][i] = (bits >> (4 * n + i) & 1U) != 0 ? values[n][i] : other;
  }
}

/// The softmax so far of a lane's two rows: their largest scores, and this lane's share of the sums
/// of exponentials.
struct Softmax {
  float most[2] = {-INFINITY, -INFINITY};
  float total[2] = {0, 0};
};
/// Makes weights of scores, in place; sums are scaled to the new largest score. Exponentials are of
/// base 2: `scale` is that of scores times log2(e).
template <int kDim, int kColumns>
QUERN_DEVICE void weigh(Softmax& softmax, float scale, float (&scores)[kColumns][4],
                        float (&sums)[kDim / 8][4]) {
  QUERN_UNROLL
  for (int half = 0; half < 2; ++half) {
    float most = softmax.most[half];
    QUERN_UNROLL
    for (int n = 0; n < kColumns; ++n)
      most = largest(most, largest(scores[n][2 * half], scores[n][2 * half + 1]));
    most = quad_max(most);
    const float base = most == -INFINITY ? 0 : most * scale;
    const float factor = exp2_fast(softmax.most[half] * scale - base);
    softmax.most[half] = most;
    float total = 0;
    QUERN_UNROLL
    for (int n = 0; n < kColumns; ++n) {
      QUERN_UNROLL
      for (int i = 2 * half; i < 2 * half + 2; ++i) {
        scores[n][i] = exp2_fast(scores[n][i] * scale - base);
        total += scores[n][i];
      }
    }
    softmax.total[half] = softmax.total[half] * factor + total;
    QUERN_UNROLL
    for (int n = 0; n < kDim / 8; ++n) {
      sums[n][2 * half] *= factor;
      sums[n][2 * half + 1] *= factor;
    }
  }
}
/// What the warp has of its rows so far.
template <int kDim, int kTiles>
struct Output {
  float sums[kTiles][kDim / 8][4] = {};
  Softmax softmax[kTiles];
};

/// Takes 8 · kColumns keys from `key` on into the output; `keys` and `values` are their rows.
template <int kDim, int kTiles, int kColumns, typename Queries>
QUERN_DEVICE void attend(const Shape& at, uint32_t threshold, const Rows<kDim> (&rows)[kTiles],
                         const Queries& queries, int key, bool masked, const BFloat16* keys,
                         const BFloat16* values, Output<kDim, kTiles>& output) {
  float scores[kTiles][kColumns][4];
  score<kDim, kTiles, kColumns>(rows, keys, scores);
  QUERN_UNROLL
  for (int m = 0; m < kTiles; ++m) {
    const auto of_tile = [&](int half) { return queries(m, half); };
    if (at.alibi_slopes != nullptr) add_bias<kColumns>(at, of_tile, key, scores[m]);
    if (masked) select<kColumns>(seen_by<kColumns>(at, of_tile, key), -INFINITY, scores[m]);
    weigh<kDim, kColumns>(output.softmax[m], at.scale * kLog2E, scores[m], output.sums[m]);
    if (at.dropout > 0)
      select<kColumns>(kept_by<kColumns>(at, threshold, of_tile, key), 0, scores[m]);
  }
  add_values<kDim, kTiles, kColumns>(scores, values, output.sums);
}

/// The row of out and the log-sum-exp of a query, row `half` of this lane.
template <int kDim>
QUERN_DEVICE void write_output(const arguments::Attention<BFloat16>& a, const Query& q, int half,
                               const float (&sums)[kDim / 8][4], const Softmax& softmax) {
  const Shape& at = a.attention;
  const float total = quad_sum(softmax.total[half]);
  if (q.t >= at.queries) return;
  const float factor = total > 0 ? 1 / (total * (1 - at.dropout)) : 0;
  write_sums<kDim>(sums, half, factor,
                   a.out + ((block_z() * at.queries + q.t) * at.heads + q.head) * at.head_dim,
                   at.head_dim);
  if (a.lse != nullptr && pair() == 0) {
    a.lse[(block_z() * at.heads + q.head) * at.queries + q.t] =
        total > 0 ? softmax.most[half] * at.scale + logf(total) : -INFINITY;
  }
}

/// Keys and values of a block in two stages of shared memory: while one is worked on, the other is
/// filled.
template <int kDim>
struct KeyStages {
  static constexpr int kTile = kKeys * pitch_of(kDim);
  BFloat16* tiles;
  const BFloat16 *k, *v;
  int end;  // of the keys

  QUERN_MEMBER BFloat16* keys(int stage) const { return tiles + stage * 2 * kTile; }
  QUERN_MEMBER BFloat16* values(int stage) const { return keys(stage) + kTile; }
  QUERN_MEMBER void begin_copy(const Shape& at, int key, int stage) const {
    if (key >= end) return;
    copy_rows<kDim, kKeys>(keys(stage), k, at.kv_row, key, end, at.head_dim);
    copy_rows<kDim, kKeys>(values(stage), v, at.kv_row, key, end, at.head_dim);
  }
};
template <int kDim>
QUERN_DEVICE KeyStages<kDim> key_stages(const Shape& at, int64_t kv_head, int end) {
  const int64_t kv = block_z() * at.kv_batch + kv_head * at.kv_head;
  return {reinterpret_cast<BFloat16*>(dynamic_shared()), at.k + kv, at.v + kv, end};
}

/// Of a warp's queries: keys from .. end - 1 are seen by any, all_from .. all_end - 1 by all.
struct WarpKeys {
  int from, end, all_from, all_end;
  QUERN_MEMBER bool any(int key, int count) const { return key < end && key + count > from; }
  QUERN_MEMBER bool all(int key, int count) const {
    return key >= all_from && key + count <= all_end;
  }
};
QUERN_DEVICE WarpKeys warp_keys(const Shape& at, const Sequence& s, int first, int count,
                                int head) {
  if (first >= at.queries) return {0, 0, 0, 0};
  const Span span = keys_of(at, s, first, count);
  return {static_cast<int>(span.begin), static_cast<int>(span.end),
          query_of(at, block_z(), first + count - 1, head).low,
          at.segments == nullptr ? query_of(at, block_z(), first, head).high : 0};
}

/// A block 64 · kTiles queries of one head, the last ones first: with causal masks they have most
/// to do.
template <int kDim>
QUERN_DEVICE void forward(const arguments::Attention<BFloat16>& a) {
  constexpr int kTiles = query_tiles(kDim);
  constexpr int kWarpRows = kRows * kTiles;
  const Shape& at = a.attention;
  const int head = static_cast<int>(block_y());
  const Sequence s = sequence_of(at, block_z());
  const int first = static_cast<int>(blocks_x() - 1 - block_x()) * kWarps * kWarpRows;
  const int warp_first = first + warp_index() * kWarpRows;
  const Walk walk = walk_keys(keys_of(at, s, first, kWarps * kWarpRows));
  const KeyStages<kDim> stages = key_stages<kDim>(at, head / (at.heads / at.kv_heads), walk.end);
  stages.begin_copy(at, walk.begin, 0);
  copy_rows<kDim, kWarps * kWarpRows>(stages.keys(1),
                                      at.q + block_z() * at.q_batch + head * at.q_head, at.q_row,
                                      first, static_cast<int>(at.queries), at.head_dim);
  wait_copies();
  barrier();
  Rows<kDim> rows[kTiles];
  QUERN_UNROLL
  for (int m = 0; m < kTiles; ++m)
    load_rows<kDim>(rows[m], stages.keys(1) + (warp_index() * kTiles + m) * kRows * pitch_of(kDim));
  const auto queries = [&](int m, int half) {
    return query_of(at, block_z(), warp_first + m * kRows + half * 8 + group(), head);
  };
  const WarpKeys seen = warp_keys(at, s, warp_first, kWarpRows, head);
  Output<kDim, kTiles> output;
  int stage = 0;
  QUERN_ROLLED
  for (int key = walk.begin; key < walk.end; key += kKeys) {
    wait_copies();
    barrier();  // this stage is there, and the other is read by none
    stages.begin_copy(at, key + kKeys, 1 - stage);
    if (seen.any(key, kKeys)) {
      const bool masked = !seen.all(key, kKeys);
      attend<kDim, kTiles, kKeys / 8>(at, a.threshold, rows, queries, key, masked,
                                      stages.keys(stage), stages.values(stage), output);
    }
    stage = 1 - stage;
  }
  QUERN_UNROLL
  for (int m = 0; m < kTiles; ++m) {
    QUERN_UNROLL
    for (int half = 0; half < 2; ++half)
      write_output<kDim>(a, queries(m, half), half, output.sums[m], output.softmax[m]);
  }
}

QUERN_BOUNDED_KERNEL(quern_attention_mma_forward_32, arguments::Attention<BFloat16>, kThreads, 2) {
  forward<32>(a);
}
QUERN_BOUNDED_KERNEL(quern_attention_mma_forward_64, arguments::Attention<BFloat16>, kThreads, 2) {
  forward<64>(a);
}
QUERN_BOUNDED_KERNEL(quern_attention_mma_forward_128, arguments::Attention<BFloat16>, kThreads, 2) {
  forward<128>(a);
}

}  // namespace quern::kernels::cuda::mma
