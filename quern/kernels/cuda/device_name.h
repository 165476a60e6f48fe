#pragma once

#include <string_view>

namespace quern::kernels::cuda {

class Gpu;

/// What answers and metrics call the device that computed; null is the processor.
constexpr std::string_view device_name(const Gpu* gpu) { return gpu == nullptr ? "cpu" : "cuda"; }

}  // namespace quern::kernels::cuda
