#include "quern/graph/ops/backends.h"
#include "quern/graph/ops/ops.h"

// kActivation: y = activation(x). kGatedUnit: x holds gate then value, y = activation(gate) ·
// value.
namespace quern::graph::ops {
namespace {

Activation activation_of(const KernelCall& call) {
  return attributes<ActivationAttrs>(call).activation;
}

Types infer_activation(const Attrs& attrs, std::span<const TensorType> inputs) {
  attributes<ActivationAttrs>(OpCode::kActivation, attrs);
  const Check check(OpCode::kActivation, inputs);
  check.activations();
  return {inputs[0]};
}

template <typename Kernels, typename T = float>
void forward_activation(const KernelCall& call) {
  Kernels(call).activation_forward(activation_of(call), call.inputs[0].as<T>(),
                                   call.inputs[0].elements(), call.outputs[0].as<T>());
}

template <typename Kernels, typename T = float>
void backward_activation(const KernelCall& call) {
  Kernels(call).activation_backward(activation_of(call), call.inputs[0].as<T>(),
                                    call.output_grads[0].as<T>(), call.inputs[0].elements(),
                                    call.input_grads[0].as<T>(), call.accumulate[0]);
}

Types infer_gated(const Attrs& attrs, std::span<const TensorType> inputs) {
  attributes<ActivationAttrs>(OpCode::kGatedUnit, attrs);
  const Check check(OpCode::kGatedUnit, inputs);
  check.activations();
  check.rank_at_least(0, 1);
  const Shape& x = check.shape(0);
  check.require(x.back() % 2 == 0, "the last extent of x must be even: gate, then value",
                "give the projection before it 2 F outputs");
  return {{inputs[0].dtype, x.with_back(x.back() / 2)}};
}

template <typename Kernels, typename T = float>
void forward_gated(const KernelCall& call) {
  const Shape& y = call.outputs[0].shape();
  Kernels(call).gated_unit_forward(activation_of(call), call.inputs[0].as<T>(), y.rows(), y.back(),
                                   call.outputs[0].as<T>());
}

template <typename Kernels, typename T = float>
void backward_gated(const KernelCall& call) {
  const Shape& x = call.inputs[0].shape();
  Kernels(call).gated_unit_backward(activation_of(call), call.inputs[0].as<T>(),
                                    call.output_grads[0].as<T>(), x.rows(), x.back() / 2,
                                    call.input_grads[0].as<T>(), call.accumulate[0]);
}

Saved saves_x(const Attrs&, uint32_t) { return {.inputs = 1}; }

OpEntry of_x(OpCode code, std::string_view name) {
  OpEntry entry;
  entry.code = code;
  entry.name = name;
  entry.input_names = {"x"};
  entry.required_inputs = 1;
  entry.max_inputs = 1;
  entry.activations = 1;
  entry.saved = saves_x;
  entry.forward_scratch = no_scratch;
  entry.backward_scratch = no_scratch;
  entry.differentiable_inputs = [](const Attrs&, uint32_t) { return 1U; };
  return entry;
}

}  // namespace

OpEntry activation_op() {
  OpEntry entry = of_x(OpCode::kActivation, "activation");
  entry.infer = infer_activation;
  entry.forward = forward_activation<Cpu>;
  entry.cuda.forward = by_type<forward_activation<Cuda>, forward_activation<Cuda, BFloat16>, 0>;
  entry.reference_forward = forward_activation<Reference>;
  entry.backward = backward_activation<Cpu>;
  entry.cuda.backward = by_type<backward_activation<Cuda>, backward_activation<Cuda, BFloat16>, 0>;
  entry.reference_backward = backward_activation<Reference>;
  entry.in_place_input = 0;
  entry.gradient_alias = [](const Attrs&, uint32_t) { return GradientAlias{0, 0}; };
  return entry;
}

OpEntry gated_unit_op() {
  OpEntry entry = of_x(OpCode::kGatedUnit, "gated_unit");
  entry.infer = infer_gated;
  entry.forward = forward_gated<Cpu>;
  entry.cuda.forward = by_type<forward_gated<Cuda>, forward_gated<Cuda, BFloat16>, 0>;
  entry.reference_forward = forward_gated<Reference>;
  entry.backward = backward_gated<Cpu>;
  entry.cuda.backward = by_type<backward_gated<Cuda>, backward_gated<Cuda, BFloat16>, 0>;
  entry.reference_backward = backward_gated<Reference>;
  return entry;
}

}  // namespace quern::graph::ops
