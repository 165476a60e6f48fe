#pragma once

#include <cstdint>
#include <string_view>

namespace quern::kernels {

/// kGelu is x·Φ(x) with erf; kGeluTanh its tanh approximation (Hendrycks & Gimpel 2016, as GPT-2
/// uses).
enum class Activation : uint8_t { kNone, kRelu, kGelu, kGeluTanh, kSilu };

}  // namespace quern::kernels
