#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "quern/base/error.h"
#include "quern/tensor/dtype.h"

namespace quern {

/// Up to six extents, outermost first. A scalar has none.
class Shape {
 public:
  static constexpr size_t kMaxRank = 6;

  Shape() = default;
  Shape(std::initializer_list<int64_t> extents)
      : Shape(std::span(extents.begin(), extents.size())) {}
  explicit Shape(std::span<const int64_t> extents) {
    for (int64_t extent : extents) push_back(extent);
  }

  size_t rank() const { return rank_; }
  int64_t operator[](size_t axis) const { return extents_[axis]; }
  int64_t back() const { return rank_ == 0 ? 1 : extents_[rank_ - 1]; }
  std::span<const int64_t> extents() const { return {extents_.data(), rank_}; }

  /// Product of all extents.
  int64_t elements() const {
    int64_t product = 1;
    for (int64_t extent : extents()) product *= extent;
    return product;
  }
  /// Product of all extents but the last: the rows of a matrix view.
  int64_t rows() const { return back() == 0 ? 0 : elements() / back(); }

  void push_back(int64_t extent) {
    if (rank_ == kMaxRank) throw ShapeError("a shape has at most six extents");
    extents_[rank_++] = extent;
  }
  Shape with_back(int64_t extent) const {
    Shape result = *this;
    if (rank_ == 0) throw ShapeError("a scalar has no last extent");
    result.extents_[rank_ - 1] = extent;
    return result;
  }

  bool operator==(const Shape& other) const {
    if (rank_ != other.rank_) return false;
    for (size_t i = 0; i < rank_; ++i) {
      if (extents_[i] != other.extents_[i]) return false;
    }
    return true;
  }

  /// "(8, 256, 384)".
  std::string to_string() const {
    std::string text = "(";
    for (size_t i = 0; i < rank_; ++i) {
      if (i != 0) text += ", ";
      text += std::to_string(extents_[i]);
    }
    return text + ")";
  }

 private:
  std::array<int64_t, kMaxRank> extents_{};
  size_t rank_ = 0;
};

struct TensorType {
  DType dtype = DType::kF32;
  Shape shape;

  size_t bytes() const { return bytes_of(dtype, static_cast<size_t>(shape.elements())); }
  bool operator==(const TensorType&) const = default;
};

}  // namespace quern
