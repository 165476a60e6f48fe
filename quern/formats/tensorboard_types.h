#pragma once

#include <string_view>

namespace quern::formats {

// TensorFlow's DataType and TensorBoard's DataClass, as far as events hold them.
inline constexpr int kFloat = 1;
inline constexpr int kDouble = 2;
inline constexpr int kString = 7;
inline constexpr int kTensorClass = 2;
inline constexpr int kBlobClass = 3;

/// What the names of event files begin with.
inline constexpr std::string_view kEventFilePrefix = "events.out.tfevents.";

}  // namespace quern::formats
