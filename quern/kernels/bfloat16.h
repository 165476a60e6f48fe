#pragma once

#include <cstdint>
#include <cstring>

#include "quern/kernels/host_device.h"

namespace quern::kernels {

/// The upper half of a float32: 8 bits of exponent, 7 of mantissa. Arithmetic is float32's; only
/// storing rounds, to nearest, ties to even. A NaN stays one.
struct BFloat16 {
  uint16_t bits;

  BFloat16() = default;  // of any value, so that it may stand in a device's shared memory
  QUERN_HOST_DEVICE explicit(false) BFloat16(float value) {
#ifdef __CUDA_ARCH__
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
#else
    uint32_t word;
    memcpy(&word, &value, sizeof(word));
    const bool nan = (word & 0x7FFFFFFFU) > 0x7F800000U;
    const uint32_t rounded = word + 0x7FFFU + (word >> 16 & 1U);
    bits = static_cast<uint16_t>(nan ? word >> 16 | 0x40U : rounded >> 16);
#endif
  }
  QUERN_HOST_DEVICE explicit(false) operator float() const {
    const uint32_t word = uint32_t{bits} << 16;
    float value;
    memcpy(&value, &word, sizeof(value));
    return value;
  }
};

}  // namespace quern::kernels
