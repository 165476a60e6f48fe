// The parts of attention on tensor cores that know how a warp's lanes hold matrices: tiles of rows
// in shared memory, operands from them, and products of operands and tiles.

#include "quern/kernels/cuda/attention_mma.h"
#include "quern/kernels/cuda/simt.h"

namespace quern::kernels::cuda::mma {

// The layout of products among lanes, see mma_m16n8k16(): a lane holds rows group() and group() +
// 8, and in each columns pair() and pair() + 1.
QUERN_DEVICE int lane_index() { return static_cast<int>(thread_index()) % kWarp; }
QUERN_DEVICE int warp_index() { return static_cast<int>(thread_index()) / kWarp; }
QUERN_DEVICE int group() { return lane_index() / 4; }
QUERN_DEVICE int pair() { return lane_index() % 4 * 2; }
QUERN_DEVICE float quad_sum(float value) {
  value += shuffle_xor(value, 1);
  return value + shuffle_xor(value, 2);
}
QUERN_DEVICE float quad_max(float value) {
  value = largest(value, shuffle_xor(value, 1));
  return largest(value, shuffle_xor(value, 2));
}

/// Begins to copy rows first .. first + kCount - 1 of x into a tile; zeros from row `end` and
/// column `head_dim` on.
template <int kDim, int kCount>
QUERN_DEVICE void copy_rows(BFloat16* tile, const BFloat16* x, int64_t row_stride, int first,
                            int end, int64_t head_dim) {
  constexpr int kChunks = kDim / 8;
  constexpr int kStep = kThreads / kChunks;  // rows that the block copies at once
  static_assert(kThreads % kChunks == 0 && kCount % kStep == 0);
  const int row = static_cast<int>(thread_index()) / kChunks;
  const int d = static_cast<int>(thread_index()) % kChunks * 8;
  BFloat16* to = tile + row * pitch_of(kDim) + d;
  const BFloat16* from = x + (first + row) * row_stride + d;
  const int left = d < head_dim ? end - first - row : 0;
  QUERN_UNROLL
  for (int i = 0; i < kCount; i += kStep) {
    copy_async<16>(to + i * pitch_of(kDim), i < left ? from : x, i < left);
    from += kStep * row_stride;
  }
}

/// Operand a from 16 rows of a tile, 16 columns from `column` on.
template <int kDim>
QUERN_DEVICE void load_a(uint32_t (&a)[4], const BFloat16* rows, int column) {
  const int l = lane_index();
  ldmatrix_x4(a, rows + l % 16 * pitch_of(kDim) + l / 16 * 8 + column);
}
/// Operands b of two products, over 16 columns from `column` on: of each product 8 rows of a tile
/// are the columns.
template <int kDim>
QUERN_DEVICE void load_b(uint32_t (&b)[4], const BFloat16* rows, int column) {
  const int l = lane_index();
  ldmatrix_x4(b, rows + (l / 16 * 8 + l % 8) * pitch_of(kDim) + l / 8 % 2 * 8 + column);
}
/// The same over 16 rows of a tile, whose columns `column` .. + 7 and .. + 15 are the columns.
template <int kDim>
QUERN_DEVICE void load_b_transposed(uint32_t (&b)[4], const BFloat16* rows, int column) {
  const int l = lane_index();
  ldmatrix_x4_transposed(b, rows + l % 16 * pitch_of(kDim) + l / 16 * 8 + column);
}
QUERN_DEVICE void multiply_pair(float (&left)[4], float (&right)[4], const uint32_t (&a)[4],
                                const uint32_t (&b)[4]) {
  mma_m16n8k16(left, a, b[0], b[1]);
  mma_m16n8k16(right, a, b[2], b[3]);
}

/// 16 rows of all columns as operands a: in registers, or where registers do not suffice in shared
/// memory.
template <int kDim>
struct Rows {
  uint32_t of[kDim / 16][4];
  QUERN_MEMBER void operand(int k, uint32_t (&a)[4]) const {
    QUERN_UNROLL
    for (int i = 0; i < 4; ++i) a[i] = of[k][i];
  }
};
template <int kDim>
struct SharedRows {
  const BFloat16* tile;
  QUERN_MEMBER void operand(int k, uint32_t (&a)[4]) const { load_a<kDim>(a, tile, 16 * k); }
};
template <int kDim>
QUERN_DEVICE void load_rows(Rows<kDim>& rows, const BFloat16* tile) {
  QUERN_UNROLL
  for (int k = 0; k < kDim / 16; ++k) load_a<kDim>(rows.of[k], tile, 16 * k);
}

/// The operand a that two neighbouring sums (16,8) make.
QUERN_DEVICE void pack_sums(uint32_t (&a)[4], const float (&left)[4], const float (&right)[4]) {
  a[0] = pack_bf16(left[0], left[1]);
  a[1] = pack_bf16(left[2], left[3]);
  a[2] = pack_bf16(right[0], right[1]);
  a[3] = pack_bf16(right[2], right[3]);
}
/// This lane's values of one row of sums, times `factor`.
template <int kDim>
QUERN_DEVICE void write_sums(const float (&sums)[kDim / 8][4], int half, float factor, BFloat16* to,
                             int64_t head_dim) {
  QUERN_UNROLL
  for (int n = 0; n < kDim / 8; ++n) {
    const int d = 8 * n + pair();
    if (d >= head_dim) break;
    *reinterpret_cast<uint32_t*>(to + d) =
        pack_bf16(sums[n][2 * half] * factor, sums[n][2 * half + 1] * factor);
  }
}

/// scores (kTiles of 16 rows, 8 · kColumns) = rows · a tile's rowsᵀ.
template <int kDim, int kTiles, int kColumns, typename Operands>
QUERN_DEVICE void score(const Operands (&rows)[kTiles], const BFloat16* tile,
                        float (&scores)[kTiles][kColumns][4]) {
  QUERN_UNROLL
  for (int n = 0; n < kColumns; n += 2) {
    QUERN_UNROLL
    for (int m = 0; m < kTiles; ++m) {
      QUERN_UNROLL
      for (int i = 0; i < 4; ++i) scores[m][n][i] = scores[m][n + 1][i] = 0;
    }
    QUERN_UNROLL
    for (int k = 0; k < kDim / 16; ++k) {
      uint32_t b[4];
      load_b<kDim>(b, tile + 8 * n * pitch_of(kDim), 16 * k);
      QUERN_UNROLL
      for (int m = 0; m < kTiles; ++m) {
        uint32_t a[4];
        rows[m].operand(k, a);
        multiply_pair(scores[m][n], scores[m][n + 1], a, b);
      }
    }
  }
}

/// sums (kTiles of 16 rows, kDim) += weights · a tile's rows.
template <int kDim, int kTiles, int kColumns>
QUERN_DEVICE void add_values(const float (&weights)[kTiles][kColumns][4], const BFloat16* tile,
                             float (&sums)[kTiles][kDim / 8][4]) {
  QUERN_UNROLL
  for (int j = 0; j < kColumns / 2; ++j) {
    uint32_t a[kTiles][4];
    QUERN_UNROLL
    for (int m = 0; m < kTiles; ++m) pack_sums(a[m], weights[m][2 * j], weights[m][2 * j + 1]);
    QUERN_UNROLL
    for (int n = 0; n < kDim / 16; ++n) {
      uint32_t b[4];
      load_b_transposed<kDim>(b, tile + 16 * j * pitch_of(kDim), 16 * n);
      QUERN_UNROLL
      for (int m = 0; m < kTiles; ++m) multiply_pair(sums[m][2 * n], sums[m][2 * n + 1], a[m], b);
    }
  }
}

}  // namespace quern::kernels::cuda::mma
