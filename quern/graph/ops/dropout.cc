#include "quern/graph/ops/backends.h"
#include "quern/graph/ops/ops.h"

// y = residual + dropout(x): drawn again in backward, so no mask is stored.
namespace quern::graph::ops {
namespace {

namespace cpu = kernels::cpu;
enum Input : size_t { kX, kRandom, kResidual };

Types infer(const Attrs& attrs, std::span<const TensorType> inputs) {
  const auto& dropout = attributes<DropoutAttrs>(OpCode::kDropout, attrs);
  const Check check(OpCode::kDropout, inputs);
  check.activations();
  check.rank_at_least(kX, 1);
  check.dtype(kRandom, DType::kU32);
  check.shape_is(kRandom, Shape{4}, "seed low, seed high, step, first sample");
  check.shape_is(kResidual, check.shape(kX), "the shape of x");
  check.require(dropout.rate >= 0 && dropout.rate < 1, "rate must be in [0, 1)",
                "0 keeps everything; 1 would keep nothing");
  return {inputs[kX]};
}

Saved saved(const Attrs&, uint32_t) { return {.inputs = 1U << kRandom}; }

cpu::Dropout arguments(const KernelCall& call) {
  const auto& attrs = attributes<DropoutAttrs>(call);
  const Shape& x = call.inputs[kX].shape();
  cpu::Dropout dropout;
  dropout.rate = attrs.rate;
  dropout.per_sample = attrs.per_sample;
  dropout.samples = x[0];
  dropout.sample_size = x[0] == 0 ? 0 : x.elements() / x[0];
  dropout.random = call.inputs[kRandom].u32();
  dropout.stream = attrs.stream;
  dropout.layer = attrs.layer;
  return dropout;
}

template <typename Kernels, typename T = float>
void forward(const KernelCall& call) {
  Kernels(call).dropout(arguments(call), call.inputs[kX].as<T>(),
                        or_null<T>(call.inputs, kResidual), call.outputs[0].as<T>(), false);
}

template <typename Kernels, typename T = float>
void backward(const KernelCall& call) {
  const T* grad = call.output_grads[0].as<T>();
  if (wants(call, kX)) {
    Kernels(call).dropout(arguments(call), grad, nullptr, call.input_grads[kX].as<T>(),
                          call.accumulate[kX]);
  }
  if (wants(call, kResidual) && call.input_grads[kResidual].as<T>() != grad) {
    Kernels(call).scale(grad, call.inputs[kX].elements(), 1.0F, call.input_grads[kResidual].as<T>(),
                        call.accumulate[kResidual]);
  }
}

}  // namespace

OpEntry dropout_op() {
  OpEntry entry;
  entry.code = OpCode::kDropout;
  entry.name = "dropout";
  entry.input_names = {"x", "random", "residual"};
  entry.required_inputs = 1U << kX | 1U << kRandom;
  entry.max_inputs = 3;
  entry.activations = 1U << kX | 1U << kResidual;
  entry.infer = infer;
  entry.saved = saved;
  entry.forward_scratch = no_scratch;
  entry.backward_scratch = no_scratch;
  entry.forward = forward<Cpu>;
  entry.cuda.forward = by_type<forward<Cuda>, forward<Cuda, BFloat16>, kX>;
  entry.reference_forward = forward<Reference>;
  entry.backward = backward<Cpu>;
  entry.cuda.backward = by_type<backward<Cuda>, backward<Cuda, BFloat16>, kX>;
  entry.reference_backward = backward<Reference>;
  entry.differentiable_inputs = [](const Attrs&, uint32_t) { return 1U << kX | 1U << kResidual; };
  entry.in_place_input = kX;
  entry.gradient_alias = [](const Attrs&, uint32_t present) {
    return GradientAlias{static_cast<int>((present >> kResidual & 1U) != 0 ? kResidual : kX), 0};
  };
  return entry;
}

}  // namespace quern::graph::ops
