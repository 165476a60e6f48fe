#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace quern {

enum class DType : uint8_t { kF32, kF64, kF16, kBF16, kI64, kI32, kU32, kU8, kBool };

/// Bytes of one element.
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
  }
  return 0;
}

/// The safetensors spelling: "F32", "BF16", …
constexpr std::string_view name(DType dtype) {
  constexpr std::string_view kNames[] = {"F32", "F64", "F16", "BF16", "I64",
                                         "I32", "U32", "U8",  "BOOL"};
  return kNames[static_cast<size_t>(dtype)];
}

}  // namespace quern
