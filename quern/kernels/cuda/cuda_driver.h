#pragma once

#include <memory>
#include <span>

#include "quern/kernels/cuda/driver.h"

namespace quern::kernels::cuda {

/// The kernels that this build holds for NVIDIA's GPUs (a fat binary); empty where nvcc was not
/// found, or not looked for.
std::span<const std::byte> kernel_image();

/// GPUs that this process may use: at least one. Throws as open_cuda() does.
int gpu_count();

/// The GPU of that number, of gpu_count(). NVIDIA's driver is looked for now, and cuBLASLt beside
/// it, so a program starts on a machine that has neither. Throws Error("no_cuda") that says which
/// of build, driver and GPU is missing, and what to do.
std::unique_ptr<Driver> open_cuda(int ordinal = 0);

}  // namespace quern::kernels::cuda
