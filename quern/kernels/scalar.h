#pragma once

#include "quern/kernels/host_device.h"

namespace quern::kernels {

/// A number that stands in a tensor, or the product of two: the processor reads it when a kernel is
/// called, a device when the kernel runs.
struct Scalar {
  const float* value = nullptr;
  const float* times = nullptr;  // null: 1

  QUERN_HOST_DEVICE explicit(false) operator float() const {
    return times != nullptr ? *value * *times : *value;
  }
  QUERN_HOST_DEVICE explicit(false) operator double() const {
    return static_cast<double>(static_cast<float>(*this));
  }
};

}  // namespace quern::kernels
