#include "quern/graph/ops/backends.h"
#include "quern/graph/ops/ops.h"

// weight · Σ row_weight · (prediction - target)².
namespace quern::graph::ops {
namespace {

namespace cpu = kernels::cpu;
enum Input : size_t { kPredictions, kTargets, kWeight, kRowWeight };
enum Output : size_t { kLoss, kError };

Types infer(const Attrs&, std::span<const TensorType> inputs) {
  const Check check(OpCode::kSquaredError, inputs);
  check.floats({kPredictions, kTargets, kWeight, kRowWeight});
  const Shape& shape = check.shape(kPredictions);
  check.shape_is(kTargets, shape, "one target a prediction");
  check.shape_is(kWeight, Shape{1}, "one factor: 1 / valid targets of the whole step");
  check.shape_is(kRowWeight, shape, "one factor a prediction");
  return {f32({1}), f32(shape)};
}

cpu::SquaredError arguments(const KernelCall& call) {
  return {.count = call.inputs[kPredictions].elements(),
          .predictions = call.inputs[kPredictions].f32(),
          .targets = call.inputs[kTargets].f32(),
          .row_weights = f32_or_null(call.inputs, kRowWeight)};
}

template <typename Kernels>
size_t forward_scratch(const Attrs&, std::span<const TensorType> inputs) {
  return Kernels::squared_error_scratch(inputs[kPredictions].shape.elements());
}

template <typename Kernels>
void forward(const KernelCall& call) {
  Kernels(call).squared_error_forward(arguments(call), Scalar{call.inputs[kWeight].f32()},
                                      call.outputs[kError].f32(), call.outputs[kLoss].f32());
}

template <typename Kernels>
void backward(const KernelCall& call) {
  Kernels(call).squared_error_backward(
      arguments(call), Scalar{call.inputs[kWeight].f32(), call.output_grads[kLoss].f32()},
      call.input_grads[kPredictions].f32(), call.accumulate[kPredictions]);
}

}  // namespace

OpEntry squared_error_op() {
  OpEntry entry;
  entry.code = OpCode::kSquaredError;
  entry.name = "squared_error";
  entry.input_names = {"predictions", "targets", "weight", "row_weight"};
  entry.required_inputs = 0b111;
  entry.max_inputs = 4;
  entry.infer = infer;
  entry.saved = [](const Attrs&, uint32_t present) { return Saved{.inputs = 0b1111 & present}; };
  entry.forward_scratch = forward_scratch<Cpu>;
  entry.cuda.forward_scratch = forward_scratch<Cuda>;
  entry.backward_scratch = no_scratch;
  entry.forward = forward<Cpu>;
  entry.cuda.forward = forward<Cuda>;
  entry.reference_forward = forward<Reference>;
  entry.backward = backward<Cpu>;
  entry.cuda.backward = backward<Cuda>;
  entry.reference_backward = backward<Reference>;
  entry.differentiable_inputs = [](const Attrs&, uint32_t) { return 1U << kPredictions; };
  return entry;
}

}  // namespace quern::graph::ops
