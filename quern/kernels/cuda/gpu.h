#pragma once

#include <memory>
#include <optional>

#include "quern/kernels/cuda/blas_plans.h"
#include "quern/kernels/cuda/context.h"
#include "quern/kernels/cuda/cudnn_attention.h"
#include "quern/kernels/cuda/driver.h"
#include "quern/kernels/cuda/faults.h"
#include "quern/tensor/buffer.h"

namespace quern::kernels::cuda {

/// A GPU ready for kernels: the driver, the plans of its products and, in bfloat16, of its
/// attention, the word of faults. Shared by all executors over one ParameterStore; outlives their
/// buffers.
class Gpu {
 public:
  /// `stochastic_rounding`: see Context.
  explicit Gpu(std::unique_ptr<Driver> driver, Precision precision = Precision::kFloat32,
               bool stochastic_rounding = false);

  Driver& driver() { return *driver_; }
  const Context& context() const { return context_; }

  /// What a kernel that has run was asked for outside its bounds, which is forgotten.
  Fault take_fault();
  /// Throws Error("out_of_memory") where less than `bytes` is free: "training needs 34 GB, 24 GB
  /// are free on …". Nothing has been allocated then.
  void require_memory(size_t bytes, std::string_view what);

 private:
  std::unique_ptr<Driver> driver_;
  Buffer fault_;
  std::optional<BlasPlans> blas_;
  std::unique_ptr<CudnnAttention> cudnn_;
  Context context_;
};

/// open_cuda(), made ready.
std::unique_ptr<Gpu> open_gpu(Precision precision, bool stochastic_rounding = false,
                              int ordinal = 0);

}  // namespace quern::kernels::cuda
