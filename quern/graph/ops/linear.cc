#include <algorithm>

#include "quern/graph/ops/backends.h"
#include "quern/graph/ops/ops.h"

// y = activation(x Wᵀ + b) + residual, one GEMM with its epilogue.
namespace quern::graph::ops {
namespace {

namespace cpu = kernels::cpu;
enum Input : size_t { kX, kWeight, kBias, kResidual };
enum Output : size_t { kY, kPreActivation };

bool has_activation(const Attrs& attrs) {
  return attributes<LinearAttrs>(OpCode::kLinear, attrs).activation != Activation::kNone;
}

Types infer(const Attrs& attrs, std::span<const TensorType> inputs) {
  has_activation(attrs);
  const Check check(OpCode::kLinear, inputs);
  check.floats({kX, kWeight, kBias, kResidual});
  check.rank_at_least(kX, 1);
  check.rank(kWeight, 2);
  const int64_t n = check.shape(kWeight)[0];
  check.require(check.shape(kX).back() == check.shape(kWeight)[1],
                "the last extent of x must equal the last extent of weight",
                "weight is (outputs, inputs): check the width of the layer before");
  const Shape y = check.shape(kX).with_back(n);
  check.shape_is(kBias, Shape{n}, "one a row of weight");
  check.shape_is(kResidual, y, "the shape of the result");
  return {f32(y), f32(y)};
}

Saved saved(const Attrs& attrs, uint32_t) {
  return {.inputs = 1U << kX | 1U << kWeight,
          .outputs = has_activation(attrs) ? 1U << kPreActivation : 0};
}

cpu::Gemm forward_shape(std::span<const TensorType> inputs) {
  cpu::Gemm gemm;
  gemm.m = inputs[kX].shape.rows();
  gemm.n = inputs[kWeight].shape[0];
  gemm.k = inputs[kWeight].shape[1];
  gemm.lda = gemm.ldb = gemm.k;
  gemm.transpose_b = true;
  gemm.ldc = gemm.n;
  return gemm;
}
cpu::Gemm x_grad_shape(std::span<const TensorType> inputs) {
  cpu::Gemm gemm;  // dX (m,K) = dY (m,N) · W (N,K)
  gemm.m = inputs[kX].shape.rows();
  gemm.n = gemm.ldb = gemm.ldc = inputs[kWeight].shape[1];
  gemm.k = gemm.lda = inputs[kWeight].shape[0];
  return gemm;
}
cpu::Gemm weight_grad_shape(std::span<const TensorType> inputs) {
  cpu::Gemm gemm;  // dW (N,K) = dYᵀ (N,m) · X (m,K)
  gemm.m = gemm.lda = inputs[kWeight].shape[0];
  gemm.n = gemm.ldb = gemm.ldc = inputs[kWeight].shape[1];
  gemm.k = inputs[kX].shape.rows();
  gemm.transpose_a = true;
  return gemm;
}

template <typename Kernels>
size_t forward_scratch(const Attrs&, std::span<const TensorType> inputs) {
  return Kernels::gemm_scratch(forward_shape(inputs));
}
template <typename Kernels>
size_t kernel_scratch(std::span<const TensorType> inputs) {
  const int64_t m = inputs[kX].shape.rows();
  const int64_t n = inputs[kWeight].shape[0];
  return Buffer::align(std::max({Kernels::gemm_scratch(x_grad_shape(inputs)),
                                 Kernels::gemm_scratch(weight_grad_shape(inputs)),
                                 Kernels::column_sum_scratch(m, n)}));
}
/// The gradient before the activation takes the place of the one after it, unless the residual
/// still has to read that.
bool keeps_output_grad(const Attrs& attrs, std::span<const TensorType> inputs) {
  return has_activation(attrs) && Check::present(inputs, kResidual);
}
template <typename Kernels>
size_t backward_scratch(const Attrs& attrs, std::span<const TensorType> inputs) {
  const size_t extra =
      keeps_output_grad(attrs, inputs)
          ? static_cast<size_t>(inputs[kX].shape.rows() * inputs[kWeight].shape[0]) * sizeof(float)
          : 0;
  return kernel_scratch<Kernels>(inputs) + extra;
}

void types_of(const KernelCall& call, std::array<TensorType, 4>& types) {
  for (size_t i = 0; i < call.inputs.size(); ++i) types[i] = call.inputs[i].type;
  for (size_t i = call.inputs.size(); i < types.size(); ++i) types[i] = {DType::kBool, {}};
}

template <typename Kernels>
void forward(const KernelCall& call) {
  std::array<TensorType, 4> types;
  types_of(call, types);
  cpu::Gemm gemm = forward_shape(types);
  gemm.a = call.inputs[kX].f32();
  gemm.b = call.inputs[kWeight].f32();
  gemm.c = call.outputs[kY].f32();
  gemm.bias = f32_or_null(call.inputs, kBias);
  gemm.residual = f32_or_null(call.inputs, kResidual);
  gemm.pre_activation = call.outputs[kPreActivation].f32();
  gemm.activation = attributes<LinearAttrs>(call).activation;
  Kernels(call).gemm(gemm);
}

template <typename Kernels>
void backward(const KernelCall& call) {
  std::array<TensorType, 4> types;
  types_of(call, types);
  const Activation activation = attributes<LinearAttrs>(call).activation;
  const int64_t m = types[kX].shape.rows();
  const int64_t n = types[kWeight].shape[0];
  float* y_grad = call.output_grads[kY].f32();
  float* grad = y_grad;  // of the value before the activation
  if (activation != Activation::kNone) {
    if (keeps_output_grad(*call.attrs, types))
      grad = reinterpret_cast<float*>(call.scratch + kernel_scratch<Kernels>(types));
    Kernels(call).activation_backward(activation, call.outputs[kPreActivation].f32(), y_grad, m * n,
                                      grad, false);
  }
  if (wants(call, kX)) {
    cpu::Gemm gemm = x_grad_shape(types);
    gemm.a = grad;
    gemm.b = call.inputs[kWeight].f32();
    gemm.c = call.input_grads[kX].f32();
    gemm.accumulate = call.accumulate[kX];
    Kernels(call).gemm(gemm);
  }
  if (wants(call, kWeight)) {
    cpu::Gemm gemm = weight_grad_shape(types);
    gemm.a = grad;
    gemm.b = call.inputs[kX].f32();
    gemm.c = call.input_grads[kWeight].f32();
    gemm.accumulate = call.accumulate[kWeight];
    Kernels(call).gemm(gemm);
  }
  if (wants(call, kBias)) {
    Kernels(call).column_sum(grad, m, n, call.input_grads[kBias].f32(), call.accumulate[kBias]);
  }
  if (wants(call, kResidual) && call.input_grads[kResidual].f32() != y_grad) {
    Kernels(call).scale(y_grad, m * n, 1.0F, call.input_grads[kResidual].f32(),
                        call.accumulate[kResidual]);
  }
}

double flops(const Attrs&, std::span<const TensorType> inputs) {
  return 2.0 * static_cast<double>(inputs[kX].shape.elements()) *
         static_cast<double>(inputs[kWeight].shape[0]);
}

}  // namespace

OpEntry linear_op() {
  OpEntry entry;
  entry.code = OpCode::kLinear;
  entry.name = "linear";
  entry.input_names = {"x", "weight", "bias", "residual"};
  entry.required_inputs = 1U << kX | 1U << kWeight;
  entry.max_inputs = 4;
  entry.infer = infer;
  entry.saved = saved;
  entry.forward_scratch = forward_scratch<Cpu>;
  entry.cuda.forward_scratch = forward_scratch<Cuda>;
  entry.backward_scratch = backward_scratch<Cpu>;
  entry.cuda.backward_scratch = backward_scratch<Cuda>;
  entry.forward = forward<Cpu>;
  entry.cuda.forward = forward<Cuda>;
  entry.reference_forward = forward<Reference>;
  entry.backward = backward<Cpu>;
  entry.cuda.backward = backward<Cuda>;
  entry.reference_backward = backward<Reference>;
  entry.flops = flops;
  entry.differentiable_inputs = [](const Attrs&, uint32_t) { return 0b1111U; };
  entry.in_place_input = kResidual;
  entry.gradient_alias = [](const Attrs&, uint32_t) { return GradientAlias{kResidual, kY}; };
  return entry;
}

}  // namespace quern::graph::ops
