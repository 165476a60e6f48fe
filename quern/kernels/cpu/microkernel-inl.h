// The register-blocked heart of gemm and attention, compiled once per instruction set.
#if defined(QUERN_KERNELS_CPU_MICROKERNEL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUERN_KERNELS_CPU_MICROKERNEL_INL_H_
#undef QUERN_KERNELS_CPU_MICROKERNEL_INL_H_
#else
#define QUERN_KERNELS_CPU_MICROKERNEL_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace quern::kernels::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using V32 = hn::Vec<F32>;

constexpr int64_t kLanes = HWY_LANES(float);
/// A tile is kTileRows x kTileColumns of C in registers: 24 accumulators, two of B and one or two
/// of A fit 32 registers; 12 accumulators fit 16.
constexpr int64_t kTileRows = HWY_TARGET == HWY_AVX3 ? 12 : 6;
constexpr int64_t kTileColumns = 2 * kLanes;

/// C (rows, columns) = A·B (+ from) (+ bias), rows <= kTileRows, columns <= kTileColumns.
struct Tile {
  int64_t k = 0;
  // A(i, p) stands at a[i * lda + p], or, with `a_by_columns`, at a[p * lda + i].
  const float* a = nullptr;
  int64_t lda = 0;
  // B(p, j) stands at b[p * ldb + j]; whole vectors are read: it is padded to them.
  const float* b = nullptr;
  int64_t ldb = 0;
  float* c = nullptr;
  int64_t ldc = 0;
  const float* from = nullptr;  // (rows, columns) or null: 0. May be c
  int64_t ld_from = 0;
  const float* bias = nullptr;  // (columns) or null
};

/// The first `count` of a vector, zeros beyond; touches no memory beyond them.
HWY_INLINE V32 load_first(const float* from, int64_t count) {
  const F32 d;
  if constexpr (kLanes == 4) {  // no masked load of its own: it would read on
    HWY_ALIGN float lanes[kLanes] = {};
    for (int64_t i = 0; i < std::min(count, kLanes); ++i) lanes[i] = from[i];
    return hn::Load(d, lanes);
  } else {
    return hn::MaskedLoad(hn::FirstN(d, static_cast<size_t>(count)), d, from);
  }
}
HWY_INLINE void store_first(V32 v, float* to, int64_t count) {
  const F32 d;
  hn::BlendedStore(v, hn::FirstN(d, static_cast<size_t>(count)), d, to);
}

template <bool kWhole>
HWY_INLINE void store_row(V32 v, float* c, const float* from, const float* bias, int64_t columns) {
  const F32 d;
  if constexpr (kWhole) {
    if (from != nullptr) v = hn::Add(v, hn::LoadU(d, from));
    if (bias != nullptr) v = hn::Add(v, hn::LoadU(d, bias));
    hn::StoreU(v, d, c);
  } else {
    if (from != nullptr) v = hn::Add(v, load_first(from, columns));
    if (bias != nullptr) v = hn::Add(v, load_first(bias, columns));
    store_first(v, c, columns);
  }
}

template <int kRows, int kVectors, bool kByColumns>
HWY_NOINLINE void multiply_tile(const Tile& tile, int64_t columns) {
  const F32 d;
  V32 acc[kRows][kVectors];
#pragma GCC unroll 12
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) acc[i][j] = hn::Zero(d);
  }
  const float* HWY_RESTRICT a = tile.a;
  const float* HWY_RESTRICT b = tile.b;
  const int64_t lda = tile.lda;
  const int64_t ldb = tile.ldb;
  // Few base pointers, so that row addresses need no more than base + index.
  const float* base[4] = {a, a + 3 * lda, a + 6 * lda, a + 9 * lda};
  for (int64_t p = tile.k; p > 0; --p) {
    V32 bv[kVectors];
#pragma GCC unroll 2
    for (int j = 0; j < kVectors; ++j) bv[j] = hn::LoadU(d, b + j * kLanes);
#pragma GCC unroll 12
    for (int i = 0; i < kRows; ++i) {
      const V32 av = hn::Set(d, kByColumns ? a[i] : base[i / 3][(i % 3) * lda]);
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) acc[i][j] = hn::MulAdd(av, bv[j], acc[i][j]);
    }
    if constexpr (kByColumns) {
      a += lda;
    } else {
#pragma GCC unroll 4
      for (int g = 0; g < 4; ++g) ++base[g];
    }
    b += ldb;
  }
  float* c = tile.c;
  const float* from = tile.from;
  const float* bias = tile.bias;
  if (columns == kVectors * kLanes) {
#pragma GCC unroll 12
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 2
      for (int j = 0; j < kVectors; ++j) {
        store_row<true>(acc[i][j], c + j * kLanes, from ? from + j * kLanes : nullptr,
                        bias ? bias + j * kLanes : nullptr, kLanes);
      }
      c += tile.ldc;
      if (from) from += tile.ld_from;
    }
    return;
  }
  const int64_t last = columns - (kVectors - 1) * kLanes;
#pragma GCC unroll 12
  for (int i = 0; i < kRows; ++i) {
    if constexpr (kVectors == 2) store_row<true>(acc[i][0], c, from, bias, kLanes);
    constexpr int64_t offset = (kVectors - 1) * kLanes;
    store_row<false>(acc[i][kVectors - 1], c + offset, from ? from + offset : nullptr,
                     bias ? bias + offset : nullptr, last);
    c += tile.ldc;
    if (from) from += tile.ld_from;
  }
}

template <bool kByColumns, int kRows>
HWY_INLINE void multiply_rows(const Tile& tile, int64_t rows, int64_t columns) {
  if constexpr (kRows > 0) {
    if (rows != kRows) return multiply_rows<kByColumns, kRows - 1>(tile, rows, columns);
    if (columns > kLanes) return multiply_tile<kRows, 2, kByColumns>(tile, columns);
    multiply_tile<kRows, 1, kByColumns>(tile, columns);
  }
}

/// rows <= kTileRows, columns <= kTileColumns.
template <bool kByColumns>
HWY_INLINE void multiply(const Tile& tile, int64_t rows, int64_t columns) {
  multiply_rows<kByColumns, kTileRows>(tile, rows, columns);
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::kernels::cpu
HWY_AFTER_NAMESPACE();
#endif
