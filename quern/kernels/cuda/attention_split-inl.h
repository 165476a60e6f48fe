// Attention of few queries over many keys (decoding), as "flash-decoding" does it (Dao et al.
// 2023): blocks take parts of the keys, and a second kernel joins what they leave. Reads
// attention_mma-inl.h.

#include "quern/kernels/cuda/arguments.h"
#include "quern/kernels/cuda/attention_mma.h"
#include "quern/kernels/cuda/simt.h"

namespace quern::kernels::cuda::mma {

/// Row `row` of the queries of all heads that read a key-value head; one past them sees nothing.
QUERN_DEVICE Query query_of_group(const Shape& at, int64_t kv_head, int row) {
  const auto heads = static_cast<int>(at.heads / at.kv_heads);
  const auto queries = static_cast<int>(at.queries);
  const int head = static_cast<int>(kv_head) * heads;
  if (row >= heads * queries) return query_of(at, block_z(), queries, head);
  return query_of(at, block_z(), row % queries, head + row / queries);
}

/// This lane's words of the queries' operand, from where they are.
template <int kDim>
QUERN_DEVICE void read_queries(const Shape& at, const Query (&queries)[2], Rows<kDim>& rows) {
  QUERN_UNROLL
  for (int half = 0; half < 2; ++half) {
    const Query& q = queries[half];
    const BFloat16* row = at.q + block_z() * at.q_batch + q.head * at.q_head + q.t * at.q_row;
    QUERN_UNROLL
    for (int k = 0; k < kDim / 8; ++k) {
      const int d = 8 * k + pair();
      rows.of[k / 2][half + k % 2 * 2] =
          q.t < at.queries && d < at.head_dim ? *reinterpret_cast<const uint32_t*>(row + d) : 0;
    }
  }
}

/// A query's row of what this warp has seen of its keys.
template <int kDim>
QUERN_DEVICE void write_share(const arguments::AttentionSplit& a, const Query& q, int half,
                              const Output<kDim, 1>& output) {
  const Shape& at = a.attention;
  const float total = quad_sum(output.softmax[0].total[half]);
  if (q.t >= at.queries) return;
  const int64_t share = ((block_z() * at.heads + q.head) * at.queries + q.t) * a.parts * kWarps +
                        block_x() * kWarps + warp_index();
  const float most = output.softmax[0].most[half];
  if (pair() == 0) {
    a.softmax[2 * share] = most * at.scale * kLog2E;
    a.softmax[2 * share + 1] = total;
  }
  if (most == -INFINITY) return;  // joined by none
  QUERN_UNROLL
  for (int n = 0; n < kDim / 8; ++n) {
    const int d = 8 * n + pair();
    if (d >= at.head_dim) break;
    a.sums[share * at.head_dim + d] = output.sums[0][n][2 * half];
    a.sums[share * at.head_dim + d + 1] = output.sums[0][n][2 * half + 1];
  }
}

/// A block 16 rows of one key-value head over a part of the keys, a warp a quarter of each tile.
template <int kDim>
QUERN_DEVICE void split(const arguments::AttentionSplit& a) {
  const Shape& at = a.attention;
  const int64_t row_tiles = divide_up(at.heads / at.kv_heads * at.queries, kRows);
  const int64_t kv_head = block_y() / row_tiles;
  const int first = static_cast<int>(block_y() % row_tiles) * kRows;
  const Query queries[2] = {query_of_group(at, kv_head, first + group()),
                            query_of_group(at, kv_head, first + group() + 8)};
  const Walk all = walk_keys(keys_of(at, sequence_of(at, block_z()), 0, at.queries));
  const int64_t tiles = divide_up(larger(0, all.end - all.begin), kKeys);
  const int begin = all.begin + static_cast<int>(tiles * block_x() / a.parts) * kKeys;
  const int end =
      static_cast<int>(smaller(all.end, all.begin + tiles * (block_x() + 1) / a.parts * kKeys));
  const KeyStages<kDim> stages = key_stages<kDim>(at, kv_head, end);
  stages.begin_copy(at, begin, 0);
  Rows<kDim> rows[1];
  read_queries<kDim>(at, queries, rows[0]);
  const auto row_of = [&](int, int half) { return queries[half]; };
  const int quarter = warp_index() * kRows;
  Output<kDim, 1> output;
  int stage = 0;
  QUERN_ROLLED
  for (int key = begin; key < end; key += kKeys) {
    wait_copies();
    barrier();  // this stage is there, and the other is read by none
    stages.begin_copy(at, key + kKeys, 1 - stage);
    attend<kDim, 1, kRows / 8>(at, a.threshold, rows, row_of, key + quarter, true,
                               stages.keys(stage) + quarter * pitch_of(kDim),
                               stages.values(stage) + quarter * pitch_of(kDim), output);
    stage = 1 - stage;
  }
  QUERN_UNROLL
  for (int half = 0; half < 2; ++half) write_share<kDim>(a, queries[half], half, output);
}

QUERN_BOUNDED_KERNEL(quern_attention_split_32, arguments::AttentionSplit, kThreads, 4) {
  split<32>(a);
}
QUERN_BOUNDED_KERNEL(quern_attention_split_64, arguments::AttentionSplit, kThreads, 4) {
  split<64>(a);
}
QUERN_BOUNDED_KERNEL(quern_attention_split_128, arguments::AttentionSplit, kThreads, 3) {
  split<128>(a);
}

/// A warp a query of one head.
QUERN_COOPERATIVE_KERNEL(quern_attention_join, arguments::AttentionSplit) {
  const Shape& at = a.attention;
  const int64_t shares = a.parts * kWarps;
  for (int64_t row = grid_warp(); row < at.batch * at.heads * at.queries; row += grid_warps()) {
    const float* softmax = a.softmax + row * shares * 2;
    float most = -INFINITY;
    for (int64_t i = lane(); i < shares; i += kWarp) most = largest(most, softmax[2 * i]);
    most = warp_max(most);
    const float base = most == -INFINITY ? 0 : most;
    float total = 0;
    for (int64_t i = lane(); i < shares; i += kWarp)
      total += softmax[2 * i + 1] * exp2_fast(softmax[2 * i] - base);
    total = warp_sum(total);
    const int64_t head = row / at.queries % at.heads;
    const int64_t t = row % at.queries;
    const int64_t batch = row / (at.queries * at.heads);
    if (a.lse != nullptr && lane() == 0)
      a.lse[row] = total > 0 ? most * kLn2 + logf(total) : -INFINITY;
    const float factor = total > 0 ? 1 / (total * (1 - at.dropout)) : 0;
    BFloat16* out = a.out + ((batch * at.queries + t) * at.heads + head) * at.head_dim;
    for (int64_t d = lane(); d < at.head_dim; d += kWarp) {
      float sum = 0;
      for (int64_t i = 0; i < shares; ++i) {
        if (softmax[2 * i] == -INFINITY) continue;
        sum += a.sums[(row * shares + i) * at.head_dim + d] * exp2_fast(softmax[2 * i] - base);
      }
      out[d] = sum * factor;
    }
  }
}

}  // namespace quern::kernels::cuda::mma
