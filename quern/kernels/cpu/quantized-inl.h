// Blocks of quantised weights as vectors of floats, compiled once per instruction set.
#if defined(QUERN_KERNELS_CPU_QUANTIZED_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUERN_KERNELS_CPU_QUANTIZED_INL_H_
#undef QUERN_KERNELS_CPU_QUANTIZED_INL_H_
#else
#define QUERN_KERNELS_CPU_QUANTIZED_INL_H_
#endif

#include <hwy/highway.h>

#include "quern/kernels/cpu/microkernel-inl.h"
#include "quern/kernels/quantized.h"

HWY_BEFORE_NAMESPACE();
namespace quern::kernels::cpu {
namespace HWY_NAMESPACE {

constexpr int64_t kBlockVectors = kQuantizedBlock / kLanes;

/// The integers of a block.
template <int kBits>
HWY_INLINE void load_block(const uint8_t* q, V32 (&out)[kBlockVectors]) {
  const F32 d;
  const hn::RebindToSigned<F32> integers;
  if constexpr (kBits == 8) {
    const hn::Rebind<int8_t, F32> bytes;
    for (int64_t v = 0; v < kBlockVectors; ++v) {
      const auto* from = reinterpret_cast<const int8_t*>(q) + v * kLanes;
      out[v] = hn::ConvertTo(d, hn::PromoteTo(integers, hn::LoadU(bytes, from)));
    }
  } else {
    const hn::Rebind<uint8_t, F32> bytes;
    const auto zero_point = hn::Set(integers, 8);
    constexpr int64_t kHalf = kBlockVectors / 2;
    for (int64_t v = 0; v < kHalf; ++v) {
      const auto both = hn::PromoteTo(integers, hn::LoadU(bytes, q + v * kLanes));
      const auto low = hn::And(both, hn::Set(integers, 15));
      out[v] = hn::ConvertTo(d, hn::Sub(low, zero_point));
      out[v + kHalf] = hn::ConvertTo(d, hn::Sub(hn::ShiftRight<4>(both), zero_point));
    }
  }
}

/// The weights of a block of a row.
template <int kBits>
HWY_INLINE void load_weights(const QuantizedMatrix& matrix, int64_t row, int64_t block,
                             V32 (&out)[kBlockVectors]) {
  const F32 d;
  load_block<kBits>(matrix.quants(row) + block * kQuantizedBlock * kBits / 8, out);
  const V32 scale = hn::Set(d, matrix.scales(row)[block]);
  for (V32& part : out) part = hn::Mul(part, scale);
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::kernels::cpu
HWY_AFTER_NAMESPACE();
#endif
