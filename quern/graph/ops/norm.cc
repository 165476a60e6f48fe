
#include "quern/graph/ops/backends.h"
#include "quern/graph/ops/ops.h"

// LayerNorm or RMSNorm over the last extent, of x or of the sum x + residual, which is kept.
namespace quern::graph::ops {
namespace {

namespace cpu = kernels::cpu;
enum Input : size_t { kX, kResidual, kWeight, kBias };
enum Output : size_t { kY, kSum, kStatistics };

Types infer(const Attrs& attrs, std::span<const TensorType> inputs) {
  attributes<NormAttrs>(OpCode::kNorm, attrs);
  const Check check(OpCode::kNorm, inputs);
  check.activations();
  check.floats({kWeight, kBias});
  check.rank_at_least(kX, 1);
  const Shape& x = check.shape(kX);
  check.shape_is(kResidual, x, "the shape of x");
  check.shape_is(kWeight, Shape{x.back()}, "the last extent of x");
  check.shape_is(kBias, Shape{x.back()}, "the last extent of x");
  return {inputs[kX], inputs[kX], f32(Shape{x.rows(), 2})};
}

Saved saved(const Attrs&, uint32_t present) {
  const bool summed = (present >> kResidual & 1U) != 0;
  return {.inputs = (present & 1U << kWeight) | (summed ? 0 : 1U << kX),
          .outputs = 1U << kStatistics | (summed ? 1U << kSum : 0)};
}

template <typename T>
cpu::NormOf<T> arguments(const KernelCall& call) {
  const auto& attrs = attributes<NormAttrs>(call);
  cpu::NormOf<T> norm;
  norm.rows = call.inputs[kX].shape().rows();
  norm.width = call.inputs[kX].shape().back();
  norm.rms = attrs.rms;
  norm.epsilon = attrs.epsilon;
  norm.x = call.inputs[kX].as<T>();
  norm.residual = or_null<T>(call.inputs, kResidual);
  norm.weight = f32_or_null(call.inputs, kWeight);
  norm.bias = f32_or_null(call.inputs, kBias);
  return norm;
}

template <typename Kernels, typename T = float>
void forward(const KernelCall& call) {
  const cpu::NormOf<T> norm = arguments<T>(call);
  T* sum = call.outputs[kSum].as<T>();
  Kernels(call).norm_forward(norm, call.outputs[kY].as<T>(),
                             norm.residual != nullptr ? sum : nullptr,
                             call.outputs[kStatistics].f32());
  if (norm.residual == nullptr && sum != nullptr)
    Kernels(call).scale(norm.x, norm.rows * norm.width, 1.0F, sum, false);
}

template <typename Kernels>
size_t backward_scratch(const Attrs&, std::span<const TensorType> inputs) {
  return Kernels::norm_backward_scratch(inputs[kX].shape.rows(), inputs[kX].shape.back());
}

template <typename Kernels, typename T = float>
void backward(const KernelCall& call) {
  cpu::NormOf<T> norm = arguments<T>(call);
  const bool summed = !absent(call.inputs, kResidual);
  norm.residual = nullptr;
  if (summed) norm.x = call.outputs[kSum].as<T>();
  const int64_t count = norm.rows * norm.width;
  const float* statistics = call.outputs[kStatistics].f32();
  const T* y_grad = call.output_grads[kY].as<T>();
  const T* sum_grad = call.output_grads[kSum].as<T>();
  T* x_grad = call.input_grads[kX].as<T>();
  T* residual_grad = or_null_out<T>(call.input_grads, kResidual);
  float* weight_grad = or_null_out<float>(call.input_grads, kWeight);
  float* bias_grad = or_null_out<float>(call.input_grads, kBias);
  const bool add_x = call.accumulate[kX];
  const bool add_residual = call.accumulate[kResidual];

  if (y_grad == nullptr) {  // only the sum is used further on
    for (const size_t i : {kX, kResidual}) {
      if (!wants(call, i) || call.input_grads[i].as<T>() == sum_grad) continue;
      Kernels(call).scale(sum_grad, count, 1.0F, call.input_grads[i].as<T>(), call.accumulate[i]);
    }
    for (const size_t i : {kWeight, kBias}) {
      if (!wants(call, i) || call.accumulate[i]) continue;
      Kernels(call).fill_zero(call.input_grads[i].f32(), call.input_grads[i].elements());
    }
    return;
  }

  // The kernel has one flag for both parameter gradients; a shared parameter may part them.
  const auto run = [&](T* grad, bool add, float* weight, float* bias) {
    const bool split =
        weight != nullptr && bias != nullptr && call.accumulate[kWeight] != call.accumulate[kBias];
    Kernels(call).norm_backward(
        norm, statistics, y_grad, sum_grad, grad, add, weight, split ? nullptr : bias,
        weight != nullptr ? call.accumulate[kWeight] : bias != nullptr && call.accumulate[kBias]);
    if (split) {
      Kernels(call).norm_backward(norm, statistics, y_grad, nullptr, nullptr, false, nullptr, bias,
                                  call.accumulate[kBias]);
    }
  };
  if (x_grad == nullptr && residual_grad == nullptr) {
    run(nullptr, false, weight_grad, bias_grad);
  } else if (x_grad == nullptr) {
    run(residual_grad, add_residual, weight_grad, bias_grad);
  } else if (residual_grad == nullptr) {
    run(x_grad, add_x, weight_grad, bias_grad);
  } else if (!add_x) {
    run(x_grad, false, weight_grad, bias_grad);
    Kernels(call).scale(x_grad, count, 1.0F, residual_grad, add_residual);
  } else if (!add_residual) {
    run(residual_grad, false, weight_grad, bias_grad);
    Kernels(call).scale(residual_grad, count, 1.0F, x_grad, true);
  } else {
    run(x_grad, true, weight_grad, bias_grad);
    run(residual_grad, true, nullptr, nullptr);
  }
}

}  // namespace

OpEntry norm_op() {
  OpEntry entry;
  entry.code = OpCode::kNorm;
  entry.name = "norm";
  entry.input_names = {"x", "residual", "weight", "bias"};
  entry.required_inputs = 1U << kX;
  entry.max_inputs = 4;
  entry.activations = 1U << kX | 1U << kResidual;
  entry.infer = infer;
  entry.saved = saved;
  entry.forward_scratch = no_scratch;
  entry.backward_scratch = backward_scratch<Cpu>;
  entry.cuda.backward_scratch = backward_scratch<Cuda>;
  entry.forward = forward<Cpu>;
  entry.cuda.forward = by_type<forward<Cuda>, forward<Cuda, BFloat16>, kX>;
  entry.reference_forward = forward<Reference>;
  entry.backward = backward<Cpu>;
  entry.cuda.backward = by_type<backward<Cuda>, backward<Cuda, BFloat16>, kX>;
  entry.reference_backward = backward<Reference>;
  entry.differentiable_inputs = [](const Attrs&, uint32_t) { return 0b1111U; };
  entry.differentiable_outputs = 1U << kY | 1U << kSum;
  entry.required_outputs = [](const Attrs&, uint32_t present) {
    return 1U << kY | ((present >> kResidual & 1U) != 0 ? 1U << kSum : 0U);
  };
  // What flows into the sum is added to by the same pass.
  entry.gradient_alias = [](const Attrs&, uint32_t present) {
    return (present >> kResidual & 1U) != 0 ? GradientAlias{kX, kSum} : GradientAlias{};
  };
  return entry;
}

}  // namespace quern::graph::ops
