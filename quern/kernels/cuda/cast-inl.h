// Between F32, F64, F16, BF16, I32 and I64, one thread an element.

#include "quern/kernels/cuda/arguments.h"
#include "quern/kernels/cuda/simt.h"

namespace quern::kernels::cuda {

QUERN_DEVICE uint32_t bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  return bits;
}
QUERN_DEVICE float float_of(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof(value));
  return value;
}

QUERN_DEVICE float from_half(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000U) << 16;
  const uint32_t exponent = half >> 10 & 0x1FU;
  const uint32_t mantissa = half & 0x3FFU;
  if (exponent == 0) {  // mantissa · 2^-24
    const float magnitude = static_cast<float>(mantissa) * 5.9604644775390625e-8F;
    return float_of(sign | bits_of(magnitude));
  }
  const uint32_t wide = exponent == 31 ? 255 : exponent + 112;
  return float_of(sign | wide << 23 | mantissa << 13);
}

QUERN_DEVICE uint16_t to_half(float value) {
  const uint32_t bits = bits_of(value);
  const uint32_t sign = bits >> 16 & 0x8000U;
  const uint32_t magnitude = bits & 0x7FFFFFFFU;
  if (magnitude > 0x7F800000U) return static_cast<uint16_t>(sign | 0x7E00U);
  if (magnitude >= 0x477FF000U) return static_cast<uint16_t>(sign | 0x7C00U);  // 65520 and above
  if (magnitude < 0x38800000U) {
    // Subnormal: adding 0.5 leaves the rounded multiple of 2^-24 in the low bits.
    return static_cast<uint16_t>(sign | (bits_of(float_of(magnitude) + 0.5F) - 0x3F000000U));
  }
  const uint32_t rounded = magnitude + 0xFFFU + (magnitude >> 13 & 1U);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000U) >> 13));
}

QUERN_DEVICE double load_as(const void* from, DType dtype, int64_t i) {
  switch (dtype) {
    case DType::kF32:
      return static_cast<double>(static_cast<const float*>(from)[i]);
    case DType::kF64:
      return static_cast<const double*>(from)[i];
    case DType::kF16:
      return static_cast<double>(from_half(static_cast<const uint16_t*>(from)[i]));
    case DType::kBF16:
      return static_cast<double>(static_cast<float>(static_cast<const BFloat16*>(from)[i]));
    case DType::kI32:
      return static_cast<double>(static_cast<const int32_t*>(from)[i]);
    default:
      return static_cast<double>(static_cast<const int64_t*>(from)[i]);
  }
}

/// A float64 that is no float32 is rounded twice on its way to 16 bits: by at most one unit more.
QUERN_DEVICE void store_as(void* to, DType dtype, int64_t i, double value) {
  switch (dtype) {
    case DType::kF32:
      static_cast<float*>(to)[i] = static_cast<float>(value);
      break;
    case DType::kF64:
      static_cast<double*>(to)[i] = value;
      break;
    case DType::kF16:
      static_cast<uint16_t*>(to)[i] = to_half(static_cast<float>(value));
      break;
    case DType::kBF16:
      static_cast<BFloat16*>(to)[i] = static_cast<float>(value);
      break;
    case DType::kI32:
      static_cast<int32_t*>(to)[i] = static_cast<int32_t>(value);
      break;
    default:
      static_cast<int64_t*>(to)[i] = static_cast<int64_t>(value);
  }
}

QUERN_KERNEL(quern_cast, arguments::Cast) {
  for (int64_t i = grid_thread(); i < a.count; i += grid_threads()) {
    double value = load_as(a.from, a.from_dtype, i);
    if (a.accumulate) value += load_as(a.to, a.to_dtype, i);
    store_as(a.to, a.to_dtype, i, value);
  }
}

/// A thread eight elements, and the random bits of all of them.
QUERN_KERNEL(quern_narrow, arguments::Narrow) {
  constexpr uint32_t kRoundingKey = 0x0B0D1E5U;
  for (int64_t block = grid_thread(); block * 8 < a.count; block += grid_threads()) {
    uint32_t words[4] = {};
    if (a.random != nullptr) {
      words[0] = static_cast<uint32_t>(block);
      words[1] = static_cast<uint32_t>(block >> 32);
      words[3] = a.random[2];
      philox(words, a.random[0], a.random[1] ^ kRoundingKey);
    }
    for (int64_t k = 0; k < 8; ++k) {
      const int64_t i = block * 8 + k;
      if (i >= a.count) break;
      const float value = a.from[i];
      const uint32_t bits = bits_of(value);
      if (a.random == nullptr || (bits & 0x7F800000U) == 0x7F800000U) {  // infinities, NaN
        a.to[i] = value;
      } else {
        const uint32_t chance = words[k / 2] >> 16 * (k % 2) & 0xFFFFU;
        a.to[i].bits = static_cast<uint16_t>((bits + chance) >> 16);
      }
    }
  }
}

}  // namespace quern::kernels::cuda
