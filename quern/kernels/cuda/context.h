#pragma once

#include <cstdint>

#include "quern/kernels/cuda/driver.h"

namespace quern::kernels::cuda {

class BlasPlans;
class CudnnAttention;

/// What products of matrices are computed in; sums, losses and the optimizer are in float32.
enum class Precision : uint8_t {
  kFloat32,
  kTf32,  // operands rounded to 10 bits of mantissa
  kBf16,  // activations and copies of the weights are bfloat16; sums in float32
};

/// What every CUDA kernel is handed. Kernels split their work by shape only, and sums are fixed
/// trees: the same bits on the same GPU.
struct Context {
  Driver& driver;
  uint32_t* fault = nullptr;        // (1), shared with the host: see faults.h
  BlasPlans* blas = nullptr;        // null: own kernels multiply
  CudnnAttention* cudnn = nullptr;  // null: own kernels compute attention
  Precision precision = Precision::kFloat32;
  bool stochastic_rounding = false;  // of the weights' copies, in training
};

}  // namespace quern::kernels::cuda
