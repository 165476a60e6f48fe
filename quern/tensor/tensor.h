#pragma once

#include <cstddef>
#include <span>

#include "quern/tensor/shape.h"

namespace quern {

/// A contiguous tensor somewhere in memory, not owned. `data` is null for what is absent: an
/// optional input that was not given, an output that nobody reads, a gradient that nobody asked
/// for.
struct TensorView {
  std::byte* data = nullptr;
  TensorType type;

  explicit operator bool() const { return data != nullptr; }
  const Shape& shape() const { return type.shape; }
  int64_t elements() const { return type.shape.elements(); }
  float* f32() const { return reinterpret_cast<float*>(data); }
  /// The elements as those of a kernel: float, BFloat16.
  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(data);
  }
  int32_t* i32() const { return reinterpret_cast<int32_t*>(data); }
  uint32_t* u32() const { return reinterpret_cast<uint32_t*>(data); }
  std::span<float> f32_span() const { return {f32(), static_cast<size_t>(elements())}; }
  std::span<int32_t> i32_span() const { return {i32(), static_cast<size_t>(elements())}; }
};

}  // namespace quern
