
#include "quern/graph/ops/backends.h"
#include "quern/graph/ops/ops.h"

// kSlice, kConcat and kGatherRows copy blocks; their backward writes or adds blocks back.
namespace quern::graph::ops {
namespace {

namespace cpu = kernels::cpu;

/// A tensor seen around one axis: `outer` blocks of extent · inner elements.
struct Around {
  int64_t outer = 1, inner = 1;
};
Around around(const Shape& shape, int64_t axis) {
  Around result;
  for (size_t i = 0; i < shape.rank(); ++i) {
    if (static_cast<int64_t>(i) < axis) result.outer *= shape[i];
    if (static_cast<int64_t>(i) > axis) result.inner *= shape[i];
  }
  return result;
}

Shape with_extent(const Shape& shape, int64_t axis, int64_t extent) {
  Shape result;
  for (size_t i = 0; i < shape.rank(); ++i)
    result.push_back(static_cast<int64_t>(i) == axis ? extent : shape[i]);
  return result;
}

void check_axis(const Check& check, const Shape& shape, int64_t axis) {
  check.require(axis >= 0 && axis < static_cast<int64_t>(shape.rank()),
                "axis must be one of the input's", "axes count from 0, outermost first");
}

Types infer_slice(const Attrs& attrs, std::span<const TensorType> inputs) {
  const auto& [axis, begin, end] = attributes<AxisAttrs>(OpCode::kSlice, attrs);
  const Check check(OpCode::kSlice, inputs);
  check_axis(check, check.shape(0), axis);
  check.require(0 <= begin && begin < end && end <= check.shape(0)[static_cast<size_t>(axis)],
                "begin and end must enclose a part of the axis", "0 <= begin < end <= extent");
  return {{inputs[0].dtype, with_extent(check.shape(0), axis, end - begin)}};
}

template <typename Kernels>
void forward_slice(const KernelCall& call) {
  const auto& [axis, begin, end] = attributes<AxisAttrs>(call);
  const TensorView& x = call.inputs[0];
  const Around a = around(x.shape(), axis);
  const size_t element = size_of(x.type.dtype);
  const int64_t extent = x.shape()[static_cast<size_t>(axis)];
  const auto bytes = [&](int64_t count) { return static_cast<size_t>(count * a.inner) * element; };
  Kernels(call).copy_blocks(x.data + bytes(begin), bytes(extent), call.outputs[0].data,
                            bytes(end - begin), a.outer, bytes(end - begin));
}

template <typename Kernels>
void backward_slice(const KernelCall& call) {
  const auto& [axis, begin, end] = attributes<AxisAttrs>(call);
  const TensorView& x_grad = call.input_grads[0];
  const Around a = around(x_grad.shape(), axis);
  const int64_t extent = x_grad.shape()[static_cast<size_t>(axis)];
  if (!call.accumulate[0]) Kernels(call).fill_zero(x_grad.f32(), x_grad.elements());
  Kernels(call).add_blocks(call.output_grads[0].f32(), (end - begin) * a.inner,
                           x_grad.f32() + begin * a.inner, extent * a.inner, a.outer,
                           (end - begin) * a.inner);
}

Types infer_concat(const Attrs& attrs, std::span<const TensorType> inputs) {
  const int64_t axis = attributes<AxisAttrs>(OpCode::kConcat, attrs).axis;
  const Check check(OpCode::kConcat, inputs);
  const Shape& a = check.shape(0);
  check_axis(check, a, axis);
  check.dtype(1, inputs[0].dtype);
  check.rank(1, a.rank());
  const int64_t b_extent = check.shape(1)[static_cast<size_t>(axis)];
  check.shape_is(1, with_extent(a, axis, b_extent), "equal to a but for the axis");
  return {{inputs[0].dtype, with_extent(a, axis, a[static_cast<size_t>(axis)] + b_extent)}};
}

template <typename Kernels>
void forward_concat(const KernelCall& call) {
  const int64_t axis = attributes<AxisAttrs>(call).axis;
  const TensorView& y = call.outputs[0];
  const Around around_y = around(y.shape(), axis);
  const size_t row = static_cast<size_t>(around_y.inner) * size_of(y.type.dtype);
  const size_t y_stride = static_cast<size_t>(y.shape()[static_cast<size_t>(axis)]) * row;
  size_t offset = 0;
  for (const TensorView& part : call.inputs) {
    const size_t bytes = static_cast<size_t>(part.shape()[static_cast<size_t>(axis)]) * row;
    Kernels(call).copy_blocks(part.data, bytes, y.data + offset, y_stride, around_y.outer, bytes);
    offset += bytes;
  }
}

template <typename Kernels>
void backward_concat(const KernelCall& call) {
  const int64_t axis = attributes<AxisAttrs>(call).axis;
  const TensorView& y_grad = call.output_grads[0];
  const Around a = around(y_grad.shape(), axis);
  const int64_t y_stride = y_grad.shape()[static_cast<size_t>(axis)] * a.inner;
  int64_t offset = 0;
  for (size_t i = 0; i < call.inputs.size(); ++i) {
    const int64_t width = call.inputs[i].shape()[static_cast<size_t>(axis)] * a.inner;
    const float* from = y_grad.f32() + offset;
    offset += width;
    if (!wants(call, i)) continue;
    float* to = call.input_grads[i].f32();
    if (call.accumulate[i]) {
      Kernels(call).add_blocks(from, y_stride, to, width, a.outer, width);
    } else {
      const auto bytes = [](int64_t count) { return static_cast<size_t>(count) * sizeof(float); };
      Kernels(call).copy_blocks(reinterpret_cast<const std::byte*>(from), bytes(y_stride),
                                reinterpret_cast<std::byte*>(to), bytes(width), a.outer,
                                bytes(width));
    }
  }
}

Types infer_gather(const Attrs&, std::span<const TensorType> inputs) {
  const Check check(OpCode::kGatherRows, inputs);
  check.activations();
  check.rank(0, 3);
  check.dtype(1, DType::kI32);
  const Shape& x = check.shape(0);
  check.shape_is(1, Shape{x[0]}, "one row a sequence");
  return {{inputs[0].dtype, {x[0], x[2]}}};
}

Types infer_reshape(const Attrs& attrs, std::span<const TensorType> inputs) {
  const Shape& shape = attributes<ReshapeAttrs>(OpCode::kReshape, attrs).shape;
  const Check check(OpCode::kReshape, inputs);
  check.floats({0});
  check.require(shape.elements() == check.shape(0).elements(),
                "the new shape must hold as many elements as x", "multiply the extents of both");
  return {f32(shape)};
}

template <typename Kernels>
void forward_reshape(const KernelCall& call) {
  const TensorView& x = call.inputs[0];
  if (call.outputs[0].data == x.data) return;
  const size_t bytes = x.type.bytes();
  Kernels(call).copy_blocks(x.data, bytes, call.outputs[0].data, bytes, 1, bytes);
}

template <typename Kernels>
void backward_reshape(const KernelCall& call) {
  const TensorView& y_grad = call.output_grads[0];
  const TensorView& x_grad = call.input_grads[0];
  if (x_grad.data == y_grad.data) return;
  Kernels(call).scale(y_grad.f32(), y_grad.elements(), 1.0F, x_grad.f32(), call.accumulate[0]);
}

cpu::Gather gather_arguments(const KernelCall& call) {
  const Shape& x = call.inputs[0].shape();
  return {.batch = x[0], .length = x[1], .width = x[2], .rows = call.inputs[1].i32()};
}

template <typename Kernels, typename T = float>
void forward_gather(const KernelCall& call) {
  Kernels(call).gather_rows(gather_arguments(call), call.inputs[0].as<T>(),
                            call.outputs[0].as<T>());
}

template <typename Kernels, typename T = float>
void backward_gather(const KernelCall& call) {
  Kernels(call).gather_rows_backward(gather_arguments(call), call.output_grads[0].as<T>(),
                                     call.input_grads[0].as<T>(), call.accumulate[0]);
}

OpEntry movement(OpCode code, std::string_view name, size_t inputs) {
  OpEntry entry;
  entry.code = code;
  entry.name = name;
  entry.required_inputs = (1U << inputs) - 1;
  entry.max_inputs = inputs;
  entry.saved = saves_nothing;
  entry.forward_scratch = no_scratch;
  entry.backward_scratch = no_scratch;
  return entry;
}

}  // namespace

OpEntry reshape_op() {
  OpEntry entry;
  entry.code = OpCode::kReshape;
  entry.name = "reshape";
  entry.input_names = {"x"};
  entry.required_inputs = 1;
  entry.max_inputs = 1;
  entry.infer = infer_reshape;
  entry.saved = saves_nothing;
  entry.forward_scratch = no_scratch;
  entry.backward_scratch = no_scratch;
  entry.forward = forward_reshape<Cpu>;
  entry.cuda.forward = forward_reshape<Cuda>;
  entry.reference_forward = forward_reshape<Reference>;
  entry.backward = backward_reshape<Cpu>;
  entry.cuda.backward = backward_reshape<Cuda>;
  entry.reference_backward = backward_reshape<Reference>;
  entry.differentiable_inputs = [](const Attrs&, uint32_t) { return 1U; };
  entry.in_place_input = 0;
  entry.gradient_alias = [](const Attrs&, uint32_t) { return GradientAlias{0, 0}; };
  return entry;
}

OpEntry slice_op() {
  OpEntry entry = movement(OpCode::kSlice, "slice", 1);
  entry.input_names = {"x"};
  entry.infer = infer_slice;
  entry.forward = forward_slice<Cpu>;
  entry.cuda.forward = forward_slice<Cuda>;
  entry.reference_forward = forward_slice<Reference>;
  entry.backward = backward_slice<Cpu>;
  entry.cuda.backward = backward_slice<Cuda>;
  entry.reference_backward = backward_slice<Reference>;
  entry.differentiable_inputs = [](const Attrs&, uint32_t) { return 1U; };
  return entry;
}

OpEntry concat_op() {
  OpEntry entry = movement(OpCode::kConcat, "concat", 2);
  entry.input_names = {"a", "b"};
  entry.infer = infer_concat;
  entry.forward = forward_concat<Cpu>;
  entry.cuda.forward = forward_concat<Cuda>;
  entry.reference_forward = forward_concat<Reference>;
  entry.backward = backward_concat<Cpu>;
  entry.cuda.backward = backward_concat<Cuda>;
  entry.reference_backward = backward_concat<Reference>;
  entry.differentiable_inputs = [](const Attrs&, uint32_t) { return 0b11U; };
  return entry;
}

OpEntry gather_rows_op() {
  OpEntry entry = movement(OpCode::kGatherRows, "gather_rows", 2);
  entry.input_names = {"x", "rows"};
  entry.infer = infer_gather;
  entry.activations = 1;
  entry.saved = [](const Attrs&, uint32_t) { return Saved{.inputs = 0b10}; };
  entry.forward = forward_gather<Cpu>;
  entry.cuda.forward = by_type<forward_gather<Cuda>, forward_gather<Cuda, BFloat16>, 0>;
  entry.reference_forward = forward_gather<Reference>;
  entry.backward = backward_gather<Cpu>;
  entry.cuda.backward = by_type<backward_gather<Cuda>, backward_gather<Cuda, BFloat16>, 0>;
  entry.reference_backward = backward_gather<Reference>;
  entry.differentiable_inputs = [](const Attrs&, uint32_t) { return 1U; };
  return entry;
}

}  // namespace quern::graph::ops
