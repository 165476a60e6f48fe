// Between F32, F64, F16, BF16, I32 and I64, one thread an element.

#include "quern/kernels/cuda/arguments.h"
#include "quern/kernels/cuda/simt.h"
#include "quern/kernels/float16.h"

namespace quern::kernels::cuda {

QUERN_DEVICE double load_as(const void* from, DType dtype, int64_t i) {
  switch (dtype) {
    case DType::kF32:
      return static_cast<double>(static_cast<const float*>(from)[i]);
    case DType::kF64:
      return static_cast<const double*>(from)[i];
    case DType::kF16:
      return static_cast<double>(static_cast<float>(static_cast<const Float16*>(from)[i]));
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
      static_cast<Float16*>(to)[i] = static_cast<float>(value);
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
      uint32_t bits;
      memcpy(&bits, &value, sizeof(bits));
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
