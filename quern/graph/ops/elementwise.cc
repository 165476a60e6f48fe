
#include "quern/graph/ops/backends.h"
#include "quern/graph/ops/ops.h"

// kAdd: a + factor · b. kMultiply: a · b. kScale: factor · x. The shape of b is that of a or its
// trailing extents, and b is repeated over the leading ones.
namespace quern::graph::ops {
namespace {

enum Input : size_t { kA, kB };

void check_broadcast(const Check& check) {
  const Shape& a = check.shape(kA);
  const Shape& b = check.shape(kB);
  bool fits = b.rank() <= a.rank();
  for (size_t i = 0; fits && i < b.rank(); ++i) fits = b[b.rank() - 1 - i] == a[a.rank() - 1 - i];
  check.require(fits, "b must have the shape of a, or its trailing extents",
                "swap a and b, or slice or reduce the larger one");
}

struct Extents {
  int64_t count, period;
  bool broadcast() const { return count != period; }
};
Extents extents(const KernelCall& call) {
  return {call.inputs[kA].elements(), call.inputs[kB].elements()};
}

/// The gradient of a broadcast b meets in a column sum, then is scaled.
template <typename Kernels>
size_t broadcast_scratch(std::span<const TensorType> inputs) {
  const int64_t count = inputs[kA].shape.elements();
  const int64_t period = inputs[kB].shape.elements();
  if (count == period || period == 0) return 0;
  return Buffer::align(Kernels::column_sum_scratch(count / period, period));
}

Types infer_add(const Attrs& attrs, std::span<const TensorType> inputs) {
  attributes<ScaleAttrs>(OpCode::kAdd, attrs);
  const Check check(OpCode::kAdd, inputs);
  check_broadcast(check);
  check.activations();
  check.require(inputs[kA].dtype == DType::kF32 || check.shape(kA) == check.shape(kB),
                "b is repeated over a in F32 only", "cast both to F32");
  return {inputs[kA]};
}

template <typename Kernels, typename T = float>
void forward_add(const KernelCall& call) {
  const Extents e = extents(call);
  Kernels(call).add(call.inputs[kA].as<T>(), call.inputs[kB].as<T>(), e.count, e.period,
                    attributes<ScaleAttrs>(call).factor, call.outputs[0].as<T>());
}

template <typename Kernels>
size_t add_backward_scratch(const Attrs&, std::span<const TensorType> inputs) {
  return broadcast_scratch<Kernels>(inputs) + inputs[kB].bytes();
}

/// The gradient of a b that is repeated over a.
template <typename Kernels>
void add_repeated(const KernelCall& call, const Extents& e, float factor) {
  const float* grad = call.output_grads[0].f32();
  float* b_grad = call.input_grads[kB].f32();
  if (factor == 1) {
    Kernels(call).column_sum(grad, e.count / e.period, e.period, b_grad, call.accumulate[kB]);
  } else {
    const std::array types{call.inputs[kA].type, call.inputs[kB].type};
    float* sum = reinterpret_cast<float*>(call.scratch + broadcast_scratch<Kernels>(types));
    Kernels(call).column_sum(grad, e.count / e.period, e.period, sum, false);
    Kernels(call).scale(sum, e.period, factor, b_grad, call.accumulate[kB]);
  }
}

template <typename Kernels, typename T = float>
void backward_add(const KernelCall& call) {
  const Extents e = extents(call);
  const float factor = attributes<ScaleAttrs>(call).factor;
  const T* grad = call.output_grads[0].as<T>();
  if (wants(call, kA) && call.input_grads[kA].as<T>() != grad) {
    Kernels(call).scale(grad, e.count, 1.0F, call.input_grads[kA].as<T>(), call.accumulate[kA]);
  }
  if (!wants(call, kB)) return;
  T* b_grad = call.input_grads[kB].as<T>();
  if (!e.broadcast()) {
    Kernels(call).scale(grad, e.count, factor, b_grad, call.accumulate[kB]);
    return;
  }
  if constexpr (std::is_same_v<T, float>) add_repeated<Kernels>(call, e, factor);
}

Types infer_multiply(const Attrs&, std::span<const TensorType> inputs) {
  const Check check(OpCode::kMultiply, inputs);
  check.floats({kA, kB});
  check_broadcast(check);
  return {inputs[kA]};
}

template <typename Kernels>
void forward_multiply(const KernelCall& call) {
  const Extents e = extents(call);
  Kernels(call).multiply(call.inputs[kA].f32(), call.inputs[kB].f32(), e.count, e.period,
                         call.outputs[0].f32());
}

template <typename Kernels>
size_t multiply_backward_scratch(const Attrs&, std::span<const TensorType> inputs) {
  const bool broadcast = inputs[kA].shape.elements() != inputs[kB].shape.elements();
  return broadcast_scratch<Kernels>(inputs) + (broadcast ? inputs[kA].bytes() : 0);
}

template <typename Kernels>
void backward_multiply(const KernelCall& call) {
  const Extents e = extents(call);
  const float* grad = call.output_grads[0].f32();
  if (wants(call, kA)) {
    Kernels(call).multiply_into(grad, call.inputs[kB].f32(), e.count, e.period,
                                call.input_grads[kA].f32(), call.accumulate[kA]);
  }
  if (!wants(call, kB)) return;
  const float* a = call.inputs[kA].f32();
  float* b_grad = call.input_grads[kB].f32();
  if (!e.broadcast()) {
    Kernels(call).multiply_into(grad, a, e.count, e.count, b_grad, call.accumulate[kB]);
    return;
  }
  const std::array types{call.inputs[kA].type, call.inputs[kB].type};
  float* product = reinterpret_cast<float*>(call.scratch + broadcast_scratch<Kernels>(types));
  Kernels(call).multiply(grad, a, e.count, e.count, product);
  Kernels(call).column_sum(product, e.count / e.period, e.period, b_grad, call.accumulate[kB]);
}

Types infer_scale(const Attrs& attrs, std::span<const TensorType> inputs) {
  attributes<ScaleAttrs>(OpCode::kScale, attrs);
  Check(OpCode::kScale, inputs).floats({0});
  return {inputs[0]};
}

template <typename Kernels>
void forward_scale(const KernelCall& call) {
  Kernels(call).scale(call.inputs[0].f32(), call.inputs[0].elements(),
                      attributes<ScaleAttrs>(call).factor, call.outputs[0].f32(), false);
}

template <typename Kernels>
void backward_scale(const KernelCall& call) {
  Kernels(call).scale(call.output_grads[0].f32(), call.inputs[0].elements(),
                      attributes<ScaleAttrs>(call).factor, call.input_grads[0].f32(),
                      call.accumulate[0]);
}

OpEntry of_two(OpCode code, std::string_view name) {
  OpEntry entry;
  entry.code = code;
  entry.name = name;
  entry.input_names = {"a", "b"};
  entry.required_inputs = 0b11;
  entry.max_inputs = 2;
  entry.forward_scratch = no_scratch;
  entry.differentiable_inputs = [](const Attrs&, uint32_t) { return 0b11U; };
  entry.in_place_input = kA;
  return entry;
}

}  // namespace

OpEntry add_op() {
  OpEntry entry = of_two(OpCode::kAdd, "add");
  entry.activations = 1U << kA | 1U << kB;
  entry.infer = infer_add;
  entry.saved = saves_nothing;
  entry.backward_scratch = add_backward_scratch<Cpu>;
  entry.cuda.backward_scratch = add_backward_scratch<Cuda>;
  entry.forward = forward_add<Cpu>;
  entry.cuda.forward = by_type<forward_add<Cuda>, forward_add<Cuda, BFloat16>, kA>;
  entry.reference_forward = forward_add<Reference>;
  entry.backward = backward_add<Cpu>;
  entry.cuda.backward = by_type<backward_add<Cuda>, backward_add<Cuda, BFloat16>, kA>;
  entry.reference_backward = backward_add<Reference>;
  entry.gradient_alias = [](const Attrs&, uint32_t) { return GradientAlias{kA, 0}; };
  return entry;
}

OpEntry multiply_op() {
  OpEntry entry = of_two(OpCode::kMultiply, "multiply");
  entry.infer = infer_multiply;
  entry.saved = [](const Attrs&, uint32_t) { return Saved{.inputs = 0b11}; };
  entry.backward_scratch = multiply_backward_scratch<Cpu>;
  entry.cuda.backward_scratch = multiply_backward_scratch<Cuda>;
  entry.forward = forward_multiply<Cpu>;
  entry.cuda.forward = forward_multiply<Cuda>;
  entry.reference_forward = forward_multiply<Reference>;
  entry.backward = backward_multiply<Cpu>;
  entry.cuda.backward = backward_multiply<Cuda>;
  entry.reference_backward = backward_multiply<Reference>;
  return entry;
}

OpEntry scale_op() {
  OpEntry entry;
  entry.code = OpCode::kScale;
  entry.name = "scale";
  entry.input_names = {"x"};
  entry.required_inputs = 1;
  entry.max_inputs = 1;
  entry.infer = infer_scale;
  entry.saved = saves_nothing;
  entry.forward_scratch = no_scratch;
  entry.backward_scratch = no_scratch;
  entry.forward = forward_scale<Cpu>;
  entry.cuda.forward = forward_scale<Cuda>;
  entry.reference_forward = forward_scale<Reference>;
  entry.backward = backward_scale<Cpu>;
  entry.cuda.backward = backward_scale<Cuda>;
  entry.reference_backward = backward_scale<Reference>;
  entry.differentiable_inputs = [](const Attrs&, uint32_t) { return 1U; };
  entry.in_place_input = 0;
  entry.gradient_alias = [](const Attrs&, uint32_t) { return GradientAlias{0, 0}; };
  return entry;
}

}  // namespace quern::graph::ops
