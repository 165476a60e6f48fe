// Products where cuBLASLt is not found or does not take the shape, and the parts of an epilogue
// that it lacks.

#include "quern/kernels/cuda/arguments.h"
#include "quern/kernels/cuda/simt.h"

namespace quern::kernels::cuda {

constexpr int64_t kGemmTile = 64, kGemmDepth = 16;

using FloatProduct = arguments::Gemm<float, float>;
using BFloat16Product = arguments::Gemm<BFloat16, BFloat16>;
using MixedProduct = arguments::Gemm<BFloat16, float>;

/// bias, pre-activation, activation, residual: element (row, column) of C.
template <typename In, typename Out>
QUERN_DEVICE void finish(const cpu::GemmOf<In, Out>& g, int64_t row, int64_t column, float value) {
  const int64_t at = row * g.ldc + column;
  if (g.bias != nullptr) value += g.bias[column];
  if (g.pre_activation != nullptr) g.pre_activation[at] = value;
  if (g.activation != Activation::kNone) value = activate(g.activation, value).value;
  if (g.residual != nullptr) value += g.residual[at];
  g.c[at] = value;
}

/// A tile of 64 x 64 a block of 256 threads, 4 x 4 elements a thread, each one chain over k.
template <typename In, typename Out>
QUERN_DEVICE void multiply_tile(const cpu::GemmOf<In, Out>& g) {
  QUERN_SHARED float tile_a[kGemmDepth][kGemmTile + 1];
  QUERN_SHARED float tile_b[kGemmDepth][kGemmTile + 1];
  const int64_t first_row = block_y() * kGemmTile;
  const int64_t first_column = block_x() * kGemmTile;
  const int64_t thread_row = thread_index() / 16;
  const int64_t thread_column = thread_index() % 16;
  float sums[4][4] = {};
  for (int64_t first_k = 0; first_k < g.k; first_k += kGemmDepth) {
    for (int64_t i = thread_index(); i < kGemmDepth * kGemmTile; i += thread_count()) {
      // Neighbouring threads read neighbouring addresses in either orientation.
      const int64_t a_k = g.transpose_a ? i / kGemmTile : i % kGemmDepth;
      const int64_t a_row = g.transpose_a ? i % kGemmTile : i / kGemmDepth;
      const int64_t k = first_k + a_k;
      const int64_t row = first_row + a_row;
      float value = 0;
      if (k < g.k && row < g.m) value = g.a[g.transpose_a ? k * g.lda + row : row * g.lda + k];
      tile_a[a_k][a_row] = value;
      const int64_t b_k = g.transpose_b ? i % kGemmDepth : i / kGemmTile;
      const int64_t b_column = g.transpose_b ? i / kGemmDepth : i % kGemmTile;
      const int64_t column = first_column + b_column;
      value = 0;
      if (first_k + b_k < g.k && column < g.n) {
        value =
            g.b[g.transpose_b ? column * g.ldb + first_k + b_k : (first_k + b_k) * g.ldb + column];
      }
      tile_b[b_k][b_column] = value;
    }
    barrier();
    for (int64_t k = 0; k < kGemmDepth; ++k) {
      for (int64_t i = 0; i < 4; ++i) {
        for (int64_t j = 0; j < 4; ++j)
          sums[i][j] += tile_a[k][thread_row + 16 * i] * tile_b[k][thread_column + 16 * j];
      }
    }
    barrier();
  }
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t j = 0; j < 4; ++j) {
      const int64_t row = first_row + thread_row + 16 * i;
      const int64_t column = first_column + thread_column + 16 * j;
      if (row >= g.m || column >= g.n) continue;
      const float before = g.accumulate ? static_cast<float>(g.c[row * g.ldc + column]) : 0.0F;
      finish(g, row, column, before + sums[i][j]);
    }
  }
}

QUERN_COOPERATIVE_KERNEL(quern_gemm, FloatProduct) { multiply_tile(a.gemm); }
QUERN_COOPERATIVE_KERNEL(quern_gemm_bf16, BFloat16Product) { multiply_tile(a.gemm); }
QUERN_COOPERATIVE_KERNEL(quern_gemm_bf16_f32, MixedProduct) { multiply_tile(a.gemm); }

/// Up to eight rows times a linear layer's weight (transpose_b): a warp an output reads each weight
/// once.
template <typename T, typename Out>
QUERN_DEVICE void multiply_few_rows(const cpu::GemmOf<T, Out>& g) {
  constexpr int64_t kCount = Packet<T>::kCount;
  const bool packets = aligned(g.a, g.lda) && aligned(g.b, g.ldb);
  const int64_t in_packets = packets ? g.k / kCount * kCount : 0;
  for (int64_t column = grid_warp(); column < g.n; column += grid_warps()) {
    const T* weight = g.b + column * g.ldb;
    float sums[8] = {};
    for (int64_t k = lane() * kCount; k < in_packets; k += kWarp * kCount) {
      const Packet<T> w = load_packet(weight + k);
      for (int64_t row = 0; row < 8; ++row) {
        if (row >= g.m) break;
        const Packet<T> x = load_packet(g.a + row * g.lda + k);
        for (int64_t i = 0; i < kCount; ++i)
          sums[row] += static_cast<float>(w.value[i]) * static_cast<float>(x.value[i]);
      }
    }
    for (int64_t k = in_packets + lane(); k < g.k; k += kWarp) {
      for (int64_t row = 0; row < 8; ++row) {
        if (row < g.m)
          sums[row] += static_cast<float>(weight[k]) * static_cast<float>(g.a[row * g.lda + k]);
      }
    }
    for (int64_t row = 0; row < 8; ++row) {
      if (row >= g.m) break;
      const float sum = warp_sum(sums[row]);
      const float before = g.accumulate ? static_cast<float>(g.c[row * g.ldc + column]) : 0.0F;
      if (lane() == 0) finish(g, row, column, before + sum);
    }
  }
}
QUERN_COOPERATIVE_KERNEL(quern_few_rows, FloatProduct) { multiply_few_rows(a.gemm); }
QUERN_COOPERATIVE_KERNEL(quern_few_rows_bf16, BFloat16Product) { multiply_few_rows(a.gemm); }
QUERN_COOPERATIVE_KERNEL(quern_few_rows_bf16_f32, MixedProduct) { multiply_few_rows(a.gemm); }

/// Over what the vendor's product has left in C.
template <typename In, typename Out>
QUERN_DEVICE void finish_product(const cpu::GemmOf<In, Out>& g) {
  for (int64_t i = grid_thread(); i < g.m * g.n; i += grid_threads())
    finish(g, i / g.n, i % g.n, static_cast<float>(g.c[i / g.n * g.ldc + i % g.n]));
}
QUERN_KERNEL(quern_gemm_epilogue, FloatProduct) { finish_product(a.gemm); }
QUERN_KERNEL(quern_gemm_epilogue_bf16, BFloat16Product) { finish_product(a.gemm); }
QUERN_KERNEL(quern_gemm_epilogue_bf16_f32, MixedProduct) { finish_product(a.gemm); }

}  // namespace quern::kernels::cuda
