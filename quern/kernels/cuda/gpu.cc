#include "quern/kernels/cuda/gpu.h"

#include <fmt/format.h>

#include "quern/base/progress.h"
#include "quern/kernels/cuda/cuda_driver.h"

namespace quern::kernels::cuda {

Gpu::Gpu(std::unique_ptr<Driver> driver, Precision precision, bool stochastic_rounding)
    : driver_(std::move(driver)),
      fault_(sizeof(uint32_t), driver_.get(), Memory::kShared),
      context_{.driver = *driver_,
               .fault = reinterpret_cast<uint32_t*>(fault_.data()),
               .precision = precision,
               .stochastic_rounding = stochastic_rounding} {
  if (driver_->blas() != nullptr) {
    blas_.emplace(*driver_, *driver_->blas());
    context_.blas = &*blas_;
  }
  if (precision == Precision::kBf16) {
    cudnn_ = CudnnAttention::open(*driver_);
    context_.cudnn = cudnn_.get();
  }
}

Fault Gpu::take_fault() {
  const auto fault = static_cast<Fault>(*context_.fault);
  *context_.fault = kNoFault;
  return fault;
}

void Gpu::require_memory(size_t bytes, std::string_view what) {
  const size_t free = driver_->free_bytes();
  if (bytes <= free) return;
  throw Error(
      "out_of_memory",
      fmt::format("{} needs {}, {} are free on {}", what, format_bytes(static_cast<double>(bytes)),
                  format_bytes(static_cast<double>(free)), driver_->describe()),
      "try a smaller batch with more train.accumulate, a shorter context, or a smaller "
      "--size");
}

std::unique_ptr<Gpu> open_gpu(Precision precision, bool stochastic_rounding, int ordinal) {
  return std::make_unique<Gpu>(open_cuda(ordinal), precision, stochastic_rounding);
}

}  // namespace quern::kernels::cuda
