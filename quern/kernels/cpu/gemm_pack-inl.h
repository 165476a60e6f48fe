// Packing of A and B into panels of the micro-kernel, compiled once per instruction set.
#if defined(QUERN_KERNELS_CPU_GEMM_PACK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUERN_KERNELS_CPU_GEMM_PACK_INL_H_
#undef QUERN_KERNELS_CPU_GEMM_PACK_INL_H_
#else
#define QUERN_KERNELS_CPU_GEMM_PACK_INL_H_
#endif

#include <cstring>

#include "quern/kernels/cpu/microkernel-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quern::kernels::cpu {
namespace HWY_NAMESPACE {

// Four floats from each of the rows r, r + 4, r + 8 …, one to a 128-bit block.
template <class D>
HWY_INLINE hn::Vec<D> load_blocks(D d, const float* row, int64_t ld) {
  if constexpr (hn::MaxLanes(d) == 16) {
    const hn::Half<D> half;
    const hn::Half<decltype(half)> quarter;
    return hn::Combine(
        d, hn::Combine(half, hn::LoadU(quarter, row + 12 * ld), hn::LoadU(quarter, row + 8 * ld)),
        hn::Combine(half, hn::LoadU(quarter, row + 4 * ld), hn::LoadU(quarter, row)));
  } else if constexpr (hn::MaxLanes(d) == 8) {
    const hn::Half<D> half;
    return hn::Combine(d, hn::LoadU(half, row + 4 * ld), hn::LoadU(half, row));
  } else {
    return hn::LoadU(d, row);
  }
}

// Transposes the 4x4 in every 128-bit block.
template <class D, class V>
HWY_INLINE void transpose_blocks(D d, V& r0, V& r1, V& r2, V& r3) {
  const hn::RepartitionToWide<D> wide;
  const auto t0 = hn::BitCast(wide, hn::InterleaveLower(d, r0, r1));
  const auto t1 = hn::BitCast(wide, hn::InterleaveUpper(d, r0, r1));
  const auto t2 = hn::BitCast(wide, hn::InterleaveLower(d, r2, r3));
  const auto t3 = hn::BitCast(wide, hn::InterleaveUpper(d, r2, r3));
  r0 = hn::BitCast(d, hn::InterleaveLower(wide, t0, t2));
  r1 = hn::BitCast(d, hn::InterleaveUpper(wide, t0, t2));
  r2 = hn::BitCast(d, hn::InterleaveLower(wide, t1, t3));
  r3 = hn::BitCast(d, hn::InterleaveUpper(wide, t1, t3));
}

/// to[p * width + i] = from[i * ld + p] for i < rows, p < k; rows < width are padded with zeros.
HWY_INLINE void pack_rows(const float* from, int64_t ld, int64_t rows, int64_t k, int64_t width,
                          float* to) {
  const F32 d;
  const hn::FixedTag<float, 4> d4;
  if (rows < width) std::memset(to, 0, sizeof(float) * static_cast<size_t>(width * k));
  int64_t i = 0;
  for (; i + kLanes <= rows; i += kLanes) {
    const float* row = from + i * ld;
    int64_t p = 0;
    for (; p + 4 <= k; p += 4) {
      V32 r0 = load_blocks(d, row + p, ld);
      V32 r1 = load_blocks(d, row + ld + p, ld);
      V32 r2 = load_blocks(d, row + 2 * ld + p, ld);
      V32 r3 = load_blocks(d, row + 3 * ld + p, ld);
      transpose_blocks(d, r0, r1, r2, r3);
      float* out = to + p * width + i;
      hn::StoreU(r0, d, out);
      hn::StoreU(r1, d, out + width);
      hn::StoreU(r2, d, out + 2 * width);
      hn::StoreU(r3, d, out + 3 * width);
    }
    for (; p < k; ++p) {
      for (int64_t q = 0; q < kLanes; ++q) to[p * width + i + q] = row[q * ld + p];
    }
  }
  for (; i + 4 <= rows; i += 4) {
    const float* row = from + i * ld;
    int64_t p = 0;
    for (; p + 4 <= k; p += 4) {
      auto r0 = hn::LoadU(d4, row + p);
      auto r1 = hn::LoadU(d4, row + ld + p);
      auto r2 = hn::LoadU(d4, row + 2 * ld + p);
      auto r3 = hn::LoadU(d4, row + 3 * ld + p);
      transpose_blocks(d4, r0, r1, r2, r3);
      float* out = to + p * width + i;
      hn::StoreU(r0, d4, out);
      hn::StoreU(r1, d4, out + width);
      hn::StoreU(r2, d4, out + 2 * width);
      hn::StoreU(r3, d4, out + 3 * width);
    }
    for (; p < k; ++p) {
      for (int64_t q = 0; q < 4; ++q) to[p * width + i + q] = row[q * ld + p];
    }
  }
  for (; i < rows; ++i) {
    for (int64_t p = 0; p < k; ++p) to[p * width + i] = from[i * ld + p];
  }
}

/// to[p * width + i] = from[p * ld + i] for i < columns, p < k; the rest of width is zero.
HWY_INLINE void pack_columns(const float* from, int64_t ld, int64_t columns, int64_t k,
                             int64_t width, float* to) {
  const F32 d;
  if (columns == width && width % kLanes == 0) {
    for (int64_t p = 0; p < k; ++p, from += ld, to += width) {
      for (int64_t i = 0; i < width; i += kLanes) hn::StoreU(hn::LoadU(d, from + i), d, to + i);
    }
    return;
  }
  if (columns == width && width < kLanes) {
    const auto mask = hn::FirstN(d, static_cast<size_t>(width));
    for (int64_t p = 0; p < k; ++p, from += ld, to += width) {
      hn::BlendedStore(hn::MaskedLoad(mask, d, from), mask, d, to);
    }
    return;
  }
  for (int64_t p = 0; p < k; ++p, from += ld, to += width) {
    std::memcpy(to, from, sizeof(float) * static_cast<size_t>(columns));
    if (columns < width) {
      std::memset(to + columns, 0, sizeof(float) * static_cast<size_t>(width - columns));
    }
  }
}

/// Panels of `width` columns each of a matrix with rows of `columns`: whole rows are read, so that
/// each cache line comes once. Panel q starts at to + q * width * k.
HWY_INLINE void pack_column_panels(const float* from, int64_t ld, int64_t columns, int64_t k,
                                   int64_t width, float* to) {
  const F32 d;
  const int64_t whole = columns / width;
  const auto mask = hn::FirstN(d, static_cast<size_t>(width));
  for (int64_t p = 0; p < k; ++p) {
    const float* row = from + p * ld;
    float* out = to + p * width;
    for (int64_t q = 0; q < whole; ++q, row += width, out += width * k) {
      if (width < kLanes) {
        hn::BlendedStore(hn::MaskedLoad(mask, d, row), mask, d, out);
      } else {
        std::memcpy(out, row, sizeof(float) * static_cast<size_t>(width));
      }
    }
  }
  if (whole * width < columns) {
    pack_columns(from + whole * width, ld, columns - whole * width, k, width,
                 to + whole * width * k);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::kernels::cpu
HWY_AFTER_NAMESPACE();
#endif
