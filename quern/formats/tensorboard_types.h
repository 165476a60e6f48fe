#pragma once

namespace quern::formats {

// TensorFlow's DataType and TensorBoard's DataClass, as far as events hold them.
inline constexpr int kFloat = 1;
inline constexpr int kDouble = 2;
inline constexpr int kString = 7;
inline constexpr int kTensorClass = 2;
inline constexpr int kBlobClass = 3;

}  // namespace quern::formats
