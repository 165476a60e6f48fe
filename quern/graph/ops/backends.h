#pragma once

#include <cmath>
#include <utility>

#include "quern/graph/op.h"
#include "quern/kernels/bfloat16.h"
#include "quern/kernels/cpu/attention.h"
#include "quern/kernels/cpu/elementwise.h"
#include "quern/kernels/cpu/embedding.h"
#include "quern/kernels/cpu/gemm.h"
#include "quern/kernels/cpu/loss.h"
#include "quern/kernels/cpu/movement.h"
#include "quern/kernels/cpu/norm.h"
#include "quern/kernels/cpu/optimizer.h"
#include "quern/kernels/cpu/quantized.h"
#include "quern/kernels/cpu/window.h"
#include "quern/kernels/cuda/kernels.h"
#include "quern/kernels/optimizer_step.h"
#include "quern/kernels/reference/attention.h"
#include "quern/kernels/reference/elementwise.h"
#include "quern/kernels/reference/embedding.h"
#include "quern/kernels/reference/gemm.h"
#include "quern/kernels/reference/loss.h"
#include "quern/kernels/reference/movement.h"
#include "quern/kernels/reference/muon.h"
#include "quern/kernels/reference/norm.h"
#include "quern/kernels/reference/optimizer.h"
#include "quern/kernels/reference/window.h"
#include "quern/kernels/scalar.h"

// An op's forward and backward are templates over where the arithmetic comes from: the same wiring
// runs on the kernels of a device and on the plain loops that specify them.
namespace quern::graph::ops {

using kernels::BFloat16;
using kernels::OptimizerStep;
using kernels::Scalar;

#define QUERN_SCRATCH(space, name)                            \
  template <typename... Args>                                 \
  static size_t name(Args&&... args) {                        \
    return kernels::space::name(std::forward<Args>(args)...); \
  }
/// Bytes of scratch that a device's kernels need.
#define QUERN_SCRATCHES(space)                        \
  QUERN_SCRATCH(space, gemm_scratch)                  \
  QUERN_SCRATCH(space, column_sum_scratch)            \
  QUERN_SCRATCH(space, quantized_gemm_scratch)        \
  QUERN_SCRATCH(space, convolve_scratch)              \
  QUERN_SCRATCH(space, convolve_backward_scratch)     \
  QUERN_SCRATCH(space, convolve_weight_scratch)       \
  QUERN_SCRATCH(space, embedding_backward_scratch)    \
  QUERN_SCRATCH(space, norm_backward_scratch)         \
  QUERN_SCRATCH(space, attention_forward_scratch)     \
  QUERN_SCRATCH(space, attention_backward_scratch)    \
  QUERN_SCRATCH(space, cross_entropy_forward_scratch) \
  QUERN_SCRATCH(space, cross_entropy_both_scratch)    \
  QUERN_SCRATCH(space, squared_error_scratch)         \
  QUERN_SCRATCH(space, sum_of_squares_scratch)        \
  QUERN_SCRATCH(space, muon_scratch)

/// The processor's kernels: each takes the context first, some take scratch last.
class Cpu {
 public:
  /// Elements of a quantised weight that stand dequantised at a time.
  static constexpr int64_t kWeightPart = int64_t{1} << 20;

  explicit Cpu(const KernelCall& call) : context_(*call.context), scratch_(call.scratch) {}

#define QUERN_KERNEL(name)                                            \
  template <typename... Args>                                         \
  auto name(Args&&... args) const {                                   \
    return kernels::cpu::name(context_, std::forward<Args>(args)...); \
  }
#define QUERN_TYPED_KERNEL(name) QUERN_KERNEL(name)
#define QUERN_KERNEL_WITH_SCRATCH(name)                                         \
  template <typename... Args>                                                   \
  auto name(Args&&... args) const {                                             \
    return kernels::cpu::name(context_, std::forward<Args>(args)..., scratch_); \
  }
#include "quern/graph/ops/kernels.inc"
  QUERN_KERNEL_WITH_SCRATCH(attention_backward)
  QUERN_KERNEL_WITH_SCRATCH(norm_backward)
  QUERN_KERNEL(cross_entropy_backward)
  QUERN_KERNEL_WITH_SCRATCH(cross_entropy_both)
#undef QUERN_KERNEL
#undef QUERN_TYPED_KERNEL
#undef QUERN_KERNEL_WITH_SCRATCH
  QUERN_SCRATCHES(cpu)
  void weight_gradient(const kernels::cpu::Gemm& product, float* bias_grad,
                       bool accumulate_bias) const {
    gemm(product);
    if (bias_grad != nullptr)
      column_sum(product.a, product.k, product.m, bias_grad, accumulate_bias);
  }
  void gradient_norm(const float* x, int64_t count, float* norm) const {
    *norm =
        static_cast<float>(std::sqrt(kernels::cpu::sum_of_squares(context_, x, count, scratch_)));
  }

 private:
  const kernels::cpu::Context& context_;
  std::byte* scratch_;
};

/// A CUDA device's.
class Cuda {
 public:
  /// As of Cpu; sums over parts are rounded to BF16 between them, so that these are few.
  static constexpr int64_t kWeightPart = int64_t{1} << 25;

  explicit Cuda(const KernelCall& call) : context_(*call.cuda), scratch_(call.scratch) {}

#define QUERN_KERNEL(name)                                             \
  template <typename... Args>                                          \
  auto name(Args&&... args) const {                                    \
    return kernels::cuda::name(context_, std::forward<Args>(args)...); \
  }
#define QUERN_TYPED_KERNEL(name) QUERN_KERNEL(name)
#define QUERN_KERNEL_WITH_SCRATCH(name)                                          \
  template <typename... Args>                                                    \
  auto name(Args&&... args) const {                                              \
    return kernels::cuda::name(context_, std::forward<Args>(args)..., scratch_); \
  }
#include "quern/graph/ops/kernels.inc"
  QUERN_KERNEL_WITH_SCRATCH(attention_backward)
  QUERN_KERNEL_WITH_SCRATCH(norm_backward)
  QUERN_KERNEL_WITH_SCRATCH(gradient_norm)
  QUERN_KERNEL_WITH_SCRATCH(weight_gradient)
  QUERN_KERNEL(cross_entropy_backward)
  QUERN_KERNEL_WITH_SCRATCH(cross_entropy_both)
#undef QUERN_KERNEL
#undef QUERN_TYPED_KERNEL
#undef QUERN_KERNEL_WITH_SCRATCH
  QUERN_SCRATCHES(cuda)

 private:
  const kernels::cuda::Context& context_;
  std::byte* scratch_;
};

/// The instance of a wiring for what activations are stored as: the type of input kOf.
using Wiring = void (*)(const KernelCall&);
template <Wiring kOfFloat, Wiring kOfBFloat16, size_t kOf>
void by_type(const KernelCall& call) {
  (call.inputs[kOf].type.dtype == DType::kBF16 ? kOfBFloat16 : kOfFloat)(call);
}

/// Plain loops in float64.
class Reference {
 public:
  static constexpr int64_t kWeightPart = Cpu::kWeightPart;

  explicit Reference(const KernelCall&) {}

#define QUERN_KERNEL(name)                                        \
  template <typename... Args>                                     \
  auto name(Args&&... args) const {                               \
    return kernels::reference::name(std::forward<Args>(args)...); \
  }
#define QUERN_TYPED_KERNEL(name)                                         \
  template <typename... Args>                                            \
  auto name(Args&&... args) const {                                      \
    return kernels::reference::name<float>(std::forward<Args>(args)...); \
  }
#define QUERN_KERNEL_WITH_SCRATCH(name) QUERN_KERNEL(name)
#include "quern/graph/ops/kernels.inc"
#undef QUERN_KERNEL
#undef QUERN_TYPED_KERNEL
#undef QUERN_KERNEL_WITH_SCRATCH

  // It is given the scratch that the processor's kernels are, and leaves it.
  QUERN_SCRATCHES(cpu)
  void weight_gradient(const kernels::cpu::Gemm& product, float* bias_grad,
                       bool accumulate_bias) const {
    gemm(product);
    if (bias_grad != nullptr)
      column_sum(product.a, product.k, product.m, bias_grad, accumulate_bias);
  }
  void gradient_norm(const float* x, int64_t count, float* norm) const {
    *norm = static_cast<float>(std::sqrt(kernels::reference::sum_of_squares(x, count)));
  }

  // These compute anew what the kernels have kept of the forward pass.
  void attention_backward(const kernels::cpu::Attention& attention, const float*, const float*,
                          const float* out_grad, float* q_grad, float* k_grad,
                          float* v_grad) const {
    kernels::reference::attention_backward(attention, out_grad, q_grad, k_grad, v_grad);
  }
  void norm_backward(const kernels::cpu::Norm& norm, const float*, const float* y_grad,
                     const float* sum_grad, float* x_grad, bool accumulate_x, float* weight_grad,
                     float* bias_grad, bool accumulate_parameters) const {
    kernels::reference::norm_backward(norm, y_grad, sum_grad, x_grad, accumulate_x, weight_grad,
                                      bias_grad, accumulate_parameters);
  }
  void cross_entropy_backward(const kernels::cpu::CrossEntropy& loss, const float*, Scalar weight,
                              float* logits_grad, bool accumulate) const {
    kernels::reference::cross_entropy_backward(loss, static_cast<double>(weight), logits_grad,
                                               accumulate);
  }
};
#undef QUERN_SCRATCHES
#undef QUERN_SCRATCH

}  // namespace quern::graph::ops
