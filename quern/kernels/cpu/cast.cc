#include <algorithm>
#include <type_traits>

#include "quern/kernels/bfloat16.h"
#include "quern/kernels/cpu/movement.h"
#include "quern/kernels/float16.h"

namespace quern::kernels::cpu {
namespace {

float load(Float16 value) { return value; }
float load(BFloat16 value) { return value; }
template <typename T>
T load(T value) {
  return value;
}
template <typename To, typename From>
To convert(From value) {
  if constexpr (std::is_same_v<To, Float16> || std::is_same_v<To, BFloat16>) {
    return To(static_cast<float>(value));
  } else {
    return static_cast<To>(value);
  }
}

template <typename From, typename To>
void cast_range(const void* from, void* to, int64_t begin, int64_t end, bool accumulate) {
  const From* source = static_cast<const From*>(from);
  To* target = static_cast<To*>(to);
  for (int64_t i = begin; i < end; ++i) {
    const auto value = load(source[i]);
    if (accumulate) {
      target[i] = convert<To>(static_cast<double>(load(target[i])) + static_cast<double>(value));
    } else {
      target[i] = convert<To>(value);
    }
  }
}

using RangeCast = void (*)(const void*, void*, int64_t, int64_t, bool);

template <typename From>
RangeCast choose_to(DType to) {
  switch (to) {
    case DType::kF32:
      return cast_range<From, float>;
    case DType::kF64:
      return cast_range<From, double>;
    case DType::kF16:
      return cast_range<From, Float16>;
    case DType::kBF16:
      return cast_range<From, BFloat16>;
    case DType::kI32:
      return cast_range<From, int32_t>;
    default:
      return cast_range<From, int64_t>;
  }
}

RangeCast choose(DType from, DType to) {
  switch (from) {
    case DType::kF32:
      return choose_to<float>(to);
    case DType::kF64:
      return choose_to<double>(to);
    case DType::kF16:
      return choose_to<Float16>(to);
    case DType::kBF16:
      return choose_to<BFloat16>(to);
    case DType::kI32:
      return choose_to<int32_t>(to);
    default:
      return choose_to<int64_t>(to);
  }
}

}  // namespace

bool can_cast(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF64 || dtype == DType::kF16 ||
         dtype == DType::kBF16 || dtype == DType::kI32 || dtype == DType::kI64;
}

void cast(const Context& context, const void* from, DType from_dtype, void* to, DType to_dtype,
          int64_t count, bool accumulate) {
  constexpr int64_t kPiece = 16384;
  const RangeCast range = choose(from_dtype, to_dtype);
  context.pool.parallel_for(static_cast<size_t>((count + kPiece - 1) / kPiece),
                            [&](size_t piece, int) {
                              const int64_t begin = static_cast<int64_t>(piece) * kPiece;
                              range(from, to, begin, std::min(count, begin + kPiece), accumulate);
                            });
}

}  // namespace quern::kernels::cpu
