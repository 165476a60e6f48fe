#include <algorithm>

#include "quern/graph/ops/backends.h"
#include "quern/graph/ops/ops.h"
#include "quern/graph/quantized.h"

// y = activation(x Wᵀ + b) + residual, one GEMM with its epilogue. W may be quantised: then it has
// no gradient.
namespace quern::graph::ops {
namespace {

namespace cpu = kernels::cpu;
enum Input : size_t { kX, kWeight, kBias, kResidual };
enum Output : size_t { kY, kPreActivation };

bool has_activation(const Attrs& attrs) {
  return attributes<LinearAttrs>(OpCode::kLinear, attrs).activation != Activation::kNone;
}
bool widens(const Attrs& attrs, std::span<const TensorType> inputs) {
  return attributes<LinearAttrs>(OpCode::kLinear, attrs).widen && inputs[kX].dtype == DType::kBF16;
}

Types infer(const Attrs& attrs, std::span<const TensorType> inputs) {
  const Check check(OpCode::kLinear, inputs);
  check.dtype(kX, inputs[kX].dtype == DType::kBF16 ? DType::kBF16 : DType::kF32);
  if (is_quantized(inputs[kWeight].dtype)) {
    check.quantized(kWeight);
  } else {
    check.dtype(kWeight, inputs[kX].dtype);
  }
  const DType dtype = widens(attrs, inputs) ? DType::kF32 : inputs[kX].dtype;
  for (const size_t i : {kBias, kResidual}) {
    if (check.has(i)) check.dtype(i, dtype);
  }
  check.require(!attributes<LinearAttrs>(OpCode::kLinear, attrs).widen || !has_activation(attrs),
                "a widened result has no activation", "leave the activation to an op of its own");
  check.rank_at_least(kX, 1);
  check.rank(kWeight, 2);
  const int64_t n = check.shape(kWeight)[0];
  check.require(check.shape(kX).back() == check.shape(kWeight)[1],
                "the last extent of x must equal the last extent of weight",
                "weight is (outputs, inputs): check the width of the layer before");
  const Shape y = check.shape(kX).with_back(n);
  check.shape_is(kBias, Shape{n}, "one a row of weight");
  check.shape_is(kResidual, y, "the shape of the result");
  return {{dtype, y}, {dtype, y}};
}

Saved saved(const Attrs& attrs, uint32_t) {
  return {.inputs = 1U << kX | 1U << kWeight,
          .outputs = has_activation(attrs) ? 1U << kPreActivation : 0};
}

template <typename In, typename Out>
cpu::GemmOf<In, Out> forward_shape(std::span<const TensorType> inputs) {
  cpu::GemmOf<In, Out> gemm;
  gemm.m = inputs[kX].shape.rows();
  gemm.n = inputs[kWeight].shape[0];
  gemm.k = inputs[kWeight].shape[1];
  gemm.lda = gemm.ldb = gemm.k;
  gemm.transpose_b = true;
  gemm.ldc = gemm.n;
  return gemm;
}
template <typename In>
cpu::GemmOf<In> x_grad_shape(std::span<const TensorType> inputs) {
  cpu::GemmOf<In> gemm;  // dX (m,K) = dY (m,N) · W (N,K)
  gemm.m = inputs[kX].shape.rows();
  gemm.n = gemm.ldb = gemm.ldc = inputs[kWeight].shape[1];
  gemm.k = gemm.lda = inputs[kWeight].shape[0];
  return gemm;
}
template <typename In, typename Out>
cpu::GemmOf<In, Out> weight_grad_shape(std::span<const TensorType> inputs) {
  cpu::GemmOf<In, Out> gemm;  // dW (N,K) = dYᵀ (N,m) · X (m,K)
  gemm.m = gemm.lda = inputs[kWeight].shape[0];
  gemm.n = gemm.ldb = gemm.ldc = inputs[kWeight].shape[1];
  gemm.k = inputs[kX].shape.rows();
  gemm.transpose_a = true;
  return gemm;
}

template <typename Kernels>
size_t forward_scratch(const Attrs&, std::span<const TensorType> inputs) {
  const auto shape = forward_shape<float, float>(inputs);
  return is_quantized(inputs[kWeight].dtype) ? Kernels::quantized_gemm_scratch(shape)
                                             : Kernels::gemm_scratch(shape);
}

/// Of a quantised weight: rows that dX multiplies at a time, and the scratch of such a product,
/// behind which they stand.
template <typename Kernels>
int64_t rows_of_part(std::span<const TensorType> inputs) {
  const Shape& weight = inputs[kWeight].shape;
  return std::min(weight[0], std::max<int64_t>(1, Kernels::kWeightPart / weight[1]));
}
template <typename Kernels>
size_t part_scratch(std::span<const TensorType> inputs) {
  auto shape = x_grad_shape<float>(inputs);
  const int64_t rows = rows_of_part<Kernels>(inputs);
  size_t most = 0;
  for (const int64_t k : {rows, inputs[kWeight].shape[0] % rows}) {
    shape.k = k;
    if (k > 0) most = std::max(most, Kernels::gemm_scratch(shape));
  }
  return Buffer::align(most);
}
template <typename Kernels>
size_t quantized_scratch(std::span<const TensorType> inputs) {
  const int64_t m = inputs[kX].shape.rows();
  const Shape& weight = inputs[kWeight].shape;
  const size_t part =
      static_cast<size_t>(rows_of_part<Kernels>(inputs) * weight[1]) * sizeof(float);
  return Buffer::align(
      std::max(part_scratch<Kernels>(inputs) + part, Kernels::column_sum_scratch(m, weight[0])));
}

template <typename Kernels>
size_t kernel_scratch(std::span<const TensorType> inputs) {
  if (is_quantized(inputs[kWeight].dtype)) return quantized_scratch<Kernels>(inputs);
  const int64_t m = inputs[kX].shape.rows();
  const int64_t n = inputs[kWeight].shape[0];
  return Buffer::align(std::max({Kernels::gemm_scratch(x_grad_shape<float>(inputs)),
                                 Kernels::gemm_scratch(weight_grad_shape<float, float>(inputs)),
                                 Kernels::column_sum_scratch(m, n)}));
}
/// The gradient before the activation takes the place of the one after it, unless the residual
/// still has to read that, or it has another type.
bool keeps_output_grad(const Attrs& attrs, std::span<const TensorType> inputs) {
  return (has_activation(attrs) && Check::present(inputs, kResidual)) || widens(attrs, inputs);
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

template <typename Kernels, typename In = float, typename Out = In>
void forward(const KernelCall& call) {
  std::array<TensorType, 4> types;
  types_of(call, types);
  cpu::GemmOf<In, Out> gemm = forward_shape<In, Out>(types);
  gemm.a = call.inputs[kX].as<In>();
  gemm.c = call.outputs[kY].as<Out>();
  gemm.bias = or_null<Out>(call.inputs, kBias);
  gemm.residual = or_null<Out>(call.inputs, kResidual);
  gemm.pre_activation = call.outputs[kPreActivation].as<Out>();
  gemm.activation = attributes<LinearAttrs>(call).activation;
  if (is_quantized(types[kWeight].dtype)) {
    Kernels(call).quantized_gemm(gemm, quantized_matrix(call.inputs[kWeight]));
    return;
  }
  gemm.b = call.inputs[kWeight].as<In>();
  Kernels(call).gemm(gemm);
}

/// Of a parameter the gradient is float32, of a computed weight it has the weight's type.
template <typename Kernels, typename In, typename WeightGrad>
void parameter_gradients(const KernelCall& call, std::span<const TensorType> types,
                         const In* grad) {
  const int64_t m = types[kX].shape.rows();
  const int64_t n = types[kWeight].shape[0];
  float* bias_grad = wants(call, kBias) ? call.input_grads[kBias].f32() : nullptr;
  const bool wants_weight = wants(call, kWeight);
  if (wants_weight) {
    auto gemm = weight_grad_shape<In, WeightGrad>(types);
    gemm.a = grad;
    gemm.b = call.inputs[kX].as<In>();
    gemm.c = call.input_grads[kWeight].as<WeightGrad>();
    gemm.accumulate = call.accumulate[kWeight];
    if constexpr (std::is_same_v<WeightGrad, float>) {
      Kernels(call).weight_gradient(gemm, bias_grad, call.accumulate[kBias]);
      return;
    } else {
      Kernels(call).gemm(gemm);
    }
  }
  if (bias_grad != nullptr) Kernels(call).column_sum(grad, m, n, bias_grad, call.accumulate[kBias]);
}

template <typename Kernels, typename In>
void x_gradient(const KernelCall& call, std::span<const TensorType> types, const In* grad) {
  auto gemm = x_grad_shape<In>(types);
  gemm.a = grad;
  gemm.c = call.input_grads[kX].as<In>();
  gemm.accumulate = call.accumulate[kX];
  if (!is_quantized(types[kWeight].dtype)) {
    gemm.b = call.inputs[kWeight].as<In>();
    Kernels(call).gemm(gemm);
    return;
  }
  const kernels::QuantizedMatrix weight = quantized_matrix(call.inputs[kWeight]);
  auto* const part = reinterpret_cast<In*>(call.scratch + part_scratch<Kernels>(types));
  const int64_t rows = rows_of_part<Kernels>(types);
  for (int64_t first = 0; first < weight.rows; first += rows) {
    gemm.k = std::min(rows, weight.rows - first);
    Kernels(call).dequantize(weight, first, gemm.k, part);
    gemm.a = grad + first;
    gemm.b = part;
    Kernels(call).gemm(gemm);
    gemm.accumulate = true;
  }
}

template <typename Kernels, typename In = float, typename Out = In>
void backward(const KernelCall& call) {
  std::array<TensorType, 4> types;
  types_of(call, types);
  const Activation activation = attributes<LinearAttrs>(call).activation;
  const int64_t m = types[kX].shape.rows();
  const int64_t n = types[kWeight].shape[0];
  Out* y_grad = call.output_grads[kY].as<Out>();
  Out* before = y_grad;  // the gradient of the value before the activation
  if (activation != Activation::kNone) {
    if (keeps_output_grad(*call.attrs, types))
      before = reinterpret_cast<Out*>(call.scratch + kernel_scratch<Kernels>(types));
    Kernels(call).activation_backward(activation, call.outputs[kPreActivation].as<Out>(), y_grad,
                                      m * n, before, false);
  }
  const In* grad = nullptr;
  if constexpr (std::is_same_v<In, Out>) {
    grad = before;
  } else {
    auto* narrow = reinterpret_cast<In*>(call.scratch + kernel_scratch<Kernels>(types));
    Kernels(call).cast(before, DType::kF32, narrow, DType::kBF16, m * n, false);
    grad = narrow;
  }
  if (wants(call, kX)) x_gradient<Kernels>(call, types, grad);
  if (!std::is_same_v<In, float> && wants(call, kWeight) &&
      call.input_grads[kWeight].type.dtype == DType::kBF16) {
    parameter_gradients<Kernels, In, In>(call, types, grad);
  } else {
    parameter_gradients<Kernels, In, float>(call, types, grad);
  }
  if (wants(call, kResidual) && call.input_grads[kResidual].as<Out>() != y_grad) {
    Kernels(call).scale(y_grad, m * n, 1.0F, call.input_grads[kResidual].as<Out>(),
                        call.accumulate[kResidual]);
  }
}

/// CUDA's instance for the types at hand.
template <typename Run>
void by_types(const KernelCall& call, const Run& run) {
  if (call.inputs[kX].type.dtype != DType::kBF16) {
    run.template operator()<float, float>();
  } else if (attributes<LinearAttrs>(call).widen) {
    run.template operator()<BFloat16, float>();
  } else {
    run.template operator()<BFloat16, BFloat16>();
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
  entry.activations = 0b1111;
  entry.infer = infer;
  entry.saved = saved;
  entry.forward_scratch = forward_scratch<Cpu>;
  entry.cuda.forward_scratch = forward_scratch<Cuda>;
  entry.backward_scratch = backward_scratch<Cpu>;
  entry.cuda.backward_scratch = backward_scratch<Cuda>;
  entry.forward = forward<Cpu>;
  entry.cuda.forward = [](const KernelCall& call) {
    by_types(call, [&]<typename In, typename Out>() { forward<Cuda, In, Out>(call); });
  };
  entry.reference_forward = forward<Reference>;
  entry.backward = backward<Cpu>;
  entry.cuda.backward = [](const KernelCall& call) {
    by_types(call, [&]<typename In, typename Out>() { backward<Cuda, In, Out>(call); });
  };
  entry.reference_backward = backward<Reference>;
  entry.flops = flops;
  entry.differentiable_inputs = [](const Attrs&, uint32_t) { return 0b1111U; };
  entry.in_place_input = kResidual;
  entry.gradient_alias = [](const Attrs&, uint32_t) { return GradientAlias{kResidual, kY}; };
  return entry;
}

}  // namespace quern::graph::ops
