#pragma once

#include <cstdint>
#include <cstring>

#include "quern/kernels/host_device.h"

namespace quern::kernels {

/// IEEE 754 half precision: 5 bits of exponent, 10 of mantissa. Only stored; arithmetic is
/// float32's. Rounds to nearest, ties to even.
struct Float16 {
  uint16_t bits;

  Float16() = default;
  QUERN_HOST_DEVICE explicit(false) Float16(float value) {
    uint32_t word;
    memcpy(&word, &value, sizeof(word));
    const auto sign = static_cast<uint16_t>(word >> 16 & 0x8000U);
    const uint32_t magnitude = word & 0x7FFFFFFFU;
    if (magnitude >= 0x47800000U) {  // 65,536 and more: infinite, or not a number
      bits = static_cast<uint16_t>(sign | (magnitude > 0x7F800000U ? 0x7E00U : 0x7C00U));
      return;
    }
    if (magnitude < 0x38800000U) {  // below 2⁻¹⁴: the sum's last place is 2⁻²⁴, as a half's here
      float small;
      memcpy(&small, &magnitude, sizeof(small));
      small += 0.5F;
      memcpy(&word, &small, sizeof(word));
      bits = static_cast<uint16_t>(sign | (word - 0x3F000000U));
      return;
    }
    // Half a last place, less one where the place before it is even; a carry lands in the exponent.
    const uint32_t rounded = magnitude + 0xFFFU + (magnitude >> 13 & 1U);
    bits = static_cast<uint16_t>(sign | (rounded - 0x38000000U) >> 13);
  }
  QUERN_HOST_DEVICE explicit(false) operator float() const {
#ifdef __CUDA_ARCH__
    float result;
    asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(bits));
    return result;
#else
    const uint32_t exponent = bits >> 10 & 0x1FU;
    const uint32_t mantissa = bits & 0x3FFU;
    uint32_t word = exponent == 31  ? 0x7F800000U | mantissa << 13
                    : exponent == 0 ? 0
                                    : (exponent + 112) << 23 | mantissa << 13;
    float value;
    memcpy(&value, &word, sizeof(value));
    if (exponent == 0) value = static_cast<float>(mantissa) * 0x1p-24F;
    return (bits & 0x8000U) != 0 ? -value : value;
#endif
  }
};

}  // namespace quern::kernels
