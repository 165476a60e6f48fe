#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace quern {

/// kQ8_0 and kQ4_0 are matrices of 8 and 4 bits, a scale for each 32 elements of a row (see
/// QuantizedMatrix of the kernels).
enum class DType : uint8_t { kF32, kF64, kF16, kBF16, kI64, kI32, kU32, kU8, kBool, kQ8_0, kQ4_0 };

constexpr bool is_quantized(DType dtype) { return dtype == DType::kQ8_0 || dtype == DType::kQ4_0; }

/// Bytes of one element; 0 of a quantised type, whose elements share bytes: see bytes_of().
constexpr size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::kF64:
    case DType::kI64:
      return 8;
    case DType::kF32:
    case DType::kI32:
    case DType::kU32:
      return 4;
    case DType::kF16:
    case DType::kBF16:
      return 2;
    case DType::kU8:
    case DType::kBool:
      return 1;
    case DType::kQ8_0:
    case DType::kQ4_0:
      return 0;
  }
  return 0;
}

/// Bytes of so many elements; of a quantised type a multiple of 32.
constexpr size_t bytes_of(DType dtype, size_t elements) {
  if (!is_quantized(dtype)) return elements * size_of(dtype);
  return elements / 32 * (dtype == DType::kQ8_0 ? 34 : 18);
}

/// The safetensors spelling: "F32", "BF16", …; of quantised types GGUF's.
constexpr std::string_view name(DType dtype) {
  constexpr std::string_view kNames[] = {"F32", "F64", "F16",  "BF16", "I64", "I32",
                                         "U32", "U8",  "BOOL", "Q8_0", "Q4_0"};
  return kNames[static_cast<size_t>(dtype)];
}

}  // namespace quern
