#include "quern/graph/ops/backends.h"
#include "quern/graph/ops/ops.h"

// kReduce: the mean or sum of each sequence over its valid positions. kCast: another dtype.
namespace quern::graph::ops {
namespace {

namespace cpu = kernels::cpu;
enum Input : size_t { kX, kLengths };

Types infer_reduce(const Attrs& attrs, std::span<const TensorType> inputs) {
  attributes<ReduceAttrs>(OpCode::kReduce, attrs);
  const Check check(OpCode::kReduce, inputs);
  check.floats({kX});
  check.rank(kX, 3);
  const Shape& x = check.shape(kX);
  if (check.has(kLengths)) {
    check.dtype(kLengths, DType::kI32);
    check.shape_is(kLengths, Shape{x[0]}, "one a batch row");
  }
  return {f32({x[0], x[2]})};
}

cpu::Reduce arguments(const KernelCall& call) {
  const Shape& x = call.inputs[kX].shape();
  return {.batch = x[0],
          .length = x[1],
          .width = x[2],
          .mean = attributes<ReduceAttrs>(call).mean,
          .lengths = i32_or_null(call.inputs, kLengths)};
}

template <typename Kernels>
void forward_reduce(const KernelCall& call) {
  Kernels(call).reduce(arguments(call), call.inputs[kX].f32(), call.outputs[0].f32());
}

template <typename Kernels>
void backward_reduce(const KernelCall& call) {
  Kernels(call).reduce_backward(arguments(call), call.output_grads[0].f32(),
                                call.input_grads[kX].f32(), call.accumulate[kX]);
}

Types infer_cast(const Attrs& attrs, std::span<const TensorType> inputs) {
  const DType to = attributes<CastAttrs>(OpCode::kCast, attrs).dtype;
  const Check check(OpCode::kCast, inputs);
  for (const DType dtype : {inputs[0].dtype, to}) {
    check.require(cpu::can_cast(dtype), "cast is between F32, F64, F16, BF16, I32 and I64",
                  "keep other dtypes out of the graph");
  }
  return {{to, inputs[0].shape}};
}

template <typename Kernels>
void forward_cast(const KernelCall& call) {
  const TensorView& x = call.inputs[0];
  const TensorView& y = call.outputs[0];
  Kernels(call).cast(x.data, x.type.dtype, y.data, y.type.dtype, x.elements(), false);
}

template <typename Kernels>
void backward_cast(const KernelCall& call) {
  const TensorView& from = call.output_grads[0];
  const TensorView& to = call.input_grads[0];
  Kernels(call).cast(from.data, from.type.dtype, to.data, to.type.dtype, from.elements(),
                     call.accumulate[0]);
}

}  // namespace

OpEntry reduce_op() {
  OpEntry entry;
  entry.code = OpCode::kReduce;
  entry.name = "reduce";
  entry.input_names = {"x", "lengths"};
  entry.required_inputs = 1U << kX;
  entry.max_inputs = 2;
  entry.infer = infer_reduce;
  entry.saved = [](const Attrs&, uint32_t present) {
    return Saved{.inputs = present & 1U << kLengths};
  };
  entry.forward_scratch = no_scratch;
  entry.backward_scratch = no_scratch;
  entry.forward = forward_reduce<Cpu>;
  entry.cuda.forward = forward_reduce<Cuda>;
  entry.reference_forward = forward_reduce<Reference>;
  entry.backward = backward_reduce<Cpu>;
  entry.cuda.backward = backward_reduce<Cuda>;
  entry.reference_backward = backward_reduce<Reference>;
  entry.differentiable_inputs = [](const Attrs&, uint32_t) { return 1U << kX; };
  return entry;
}

OpEntry cast_op() {
  OpEntry entry;
  entry.code = OpCode::kCast;
  entry.name = "cast";
  entry.input_names = {"x"};
  entry.required_inputs = 1;
  entry.max_inputs = 1;
  entry.infer = infer_cast;
  entry.saved = saves_nothing;
  entry.forward_scratch = no_scratch;
  entry.backward_scratch = no_scratch;
  entry.forward = forward_cast<Cpu>;
  entry.cuda.forward = forward_cast<Cuda>;
  entry.reference_forward = forward_cast<Reference>;
  entry.backward = backward_cast<Cpu>;
  entry.cuda.backward = backward_cast<Cuda>;
  entry.reference_backward = backward_cast<Reference>;
  entry.differentiable_inputs = [](const Attrs&, uint32_t) { return 1U; };
  return entry;
}

}  // namespace quern::graph::ops
