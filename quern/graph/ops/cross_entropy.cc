#include <cstring>

#include "quern/graph/ops/backends.h"
#include "quern/graph/ops/ops.h"

// kCrossEntropy: weight · Σ over counted rows of the smoothed loss; the gradient of the logits
// takes their own place, in the same pass where training asks for both. kSoftmax: the probabilities
// of each row.
namespace quern::graph::ops {
namespace {

namespace cpu = kernels::cpu;
enum Input : size_t { kLogits, kTargets, kWeight, kRowWeight };
enum Output : size_t { kLoss, kNll, kLogSumExp };

Types infer(const Attrs& attrs, std::span<const TensorType> inputs) {
  const auto& loss = attributes<CrossEntropyAttrs>(OpCode::kCrossEntropy, attrs);
  const Check check(OpCode::kCrossEntropy, inputs);
  check.activations();
  check.floats({kWeight, kRowWeight});
  check.dtype(kTargets, DType::kI32);
  check.rank_at_least(kLogits, 1);
  const Shape& logits = check.shape(kLogits);
  const Shape rows(logits.extents().first(logits.rank() - 1));
  check.shape_is(kTargets, rows, "one target a row of logits");
  check.shape_is(kWeight, Shape{1}, "one factor: 1 / valid targets of the whole step");
  check.shape_is(kRowWeight, rows, "one factor a row of logits");
  check.require(loss.label_smoothing >= 0 && loss.label_smoothing < 1,
                "label_smoothing must be in [0, 1)", "0.1 is usual");
  return {f32({1}), f32(rows), f32(rows)};
}

Saved saved(const Attrs&, uint32_t present) {
  return {.inputs = 0b1111 & present, .outputs = 1U << kLogSumExp};
}

template <typename T>
cpu::CrossEntropyOf<T> arguments(const KernelCall& call) {
  cpu::CrossEntropyOf<T> loss;
  loss.rows = call.inputs[kLogits].shape().rows();
  loss.classes = call.inputs[kLogits].shape().back();
  loss.logits = call.inputs[kLogits].as<T>();
  loss.targets = call.inputs[kTargets].i32();
  loss.row_weights = f32_or_null(call.inputs, kRowWeight);
  loss.label_smoothing = attributes<CrossEntropyAttrs>(call).label_smoothing;
  return loss;
}

template <typename Kernels>
size_t forward_scratch(const Attrs&, std::span<const TensorType> inputs) {
  return Kernels::cross_entropy_forward_scratch(inputs[kLogits].shape.rows());
}

template <typename Kernels, typename T = float>
void forward(const KernelCall& call) {
  Kernels(call).cross_entropy_forward(arguments<T>(call), Scalar{call.inputs[kWeight].f32()},
                                      call.outputs[kNll].f32(), call.outputs[kLogSumExp].f32(),
                                      call.outputs[kLoss].f32());
}

template <typename Kernels>
size_t both_scratch(const Attrs&, std::span<const TensorType> inputs) {
  return Kernels::cross_entropy_both_scratch(inputs[kLogits].shape.rows());
}

template <typename Kernels, typename T = float>
void both(const KernelCall& call) {
  Kernels(call).cross_entropy_both(
      arguments<T>(call), Scalar{call.inputs[kWeight].f32()},
      Scalar{call.inputs[kWeight].f32(), call.output_grads[kLoss].f32()}, call.outputs[kNll].f32(),
      call.outputs[kLogSumExp].f32(), call.outputs[kLoss].f32(), call.input_grads[kLogits].as<T>());
}

template <typename Kernels, typename T = float>
void backward(const KernelCall& call) {
  Kernels(call).cross_entropy_backward(
      arguments<T>(call), call.outputs[kLogSumExp].f32(),
      Scalar{call.inputs[kWeight].f32(), call.output_grads[kLoss].f32()},
      call.input_grads[kLogits].as<T>(), call.accumulate[kLogits]);
}

Types infer_softmax(const Attrs&, std::span<const TensorType> inputs) {
  const Check check(OpCode::kSoftmax, inputs);
  check.floats({0});
  check.rank_at_least(0, 1);
  return {f32(check.shape(0))};
}

template <typename Kernels>
void forward_softmax(const KernelCall& call) {
  const Shape& x = call.inputs[0].shape();
  Kernels(call).softmax(call.inputs[0].f32(), x.rows(), x.back(), call.outputs[0].f32());
}

template <typename Kernels>
void backward_softmax(const KernelCall& call) {
  const Shape& x = call.inputs[0].shape();
  Kernels(call).softmax_backward(call.outputs[0].f32(), call.output_grads[0].f32(), x.rows(),
                                 x.back(), call.input_grads[0].f32(), call.accumulate[0]);
}

}  // namespace

OpEntry cross_entropy_op() {
  OpEntry entry;
  entry.code = OpCode::kCrossEntropy;
  entry.name = "cross_entropy";
  entry.input_names = {"logits", "targets", "weight", "row_weight"};
  entry.required_inputs = 0b111;
  entry.max_inputs = 4;
  entry.activations = 1U << kLogits;
  entry.infer = infer;
  entry.saved = saved;
  entry.forward_scratch = forward_scratch<Cpu>;
  entry.cuda.forward_scratch = forward_scratch<Cuda>;
  entry.backward_scratch = no_scratch;
  entry.forward_backward_scratch = both_scratch<Cpu>;
  entry.cuda.forward_backward_scratch = both_scratch<Cuda>;
  entry.forward_backward = both<Cpu>;
  entry.cuda.forward_backward = by_type<both<Cuda>, both<Cuda, BFloat16>, kLogits>;
  entry.reference_forward_backward = [](const KernelCall& call) {
    forward<Reference>(call);
    backward<Reference>(call);
  };
  entry.forward = forward<Cpu>;
  entry.cuda.forward = by_type<forward<Cuda>, forward<Cuda, BFloat16>, kLogits>;
  entry.reference_forward = forward<Reference>;
  entry.backward = backward<Cpu>;
  entry.cuda.backward = by_type<backward<Cuda>, backward<Cuda, BFloat16>, kLogits>;
  entry.reference_backward = backward<Reference>;
  entry.differentiable_inputs = [](const Attrs&, uint32_t) { return 1U << kLogits; };
  entry.in_place_gradient = kLogits;
  return entry;
}

OpEntry softmax_op() {
  OpEntry entry;
  entry.code = OpCode::kSoftmax;
  entry.name = "softmax";
  entry.input_names = {"x"};
  entry.required_inputs = 1;
  entry.max_inputs = 1;
  entry.infer = infer_softmax;
  entry.saved = [](const Attrs&, uint32_t) { return Saved{.outputs = 1}; };
  entry.forward_scratch = no_scratch;
  entry.backward_scratch = no_scratch;
  entry.forward = forward_softmax<Cpu>;
  entry.cuda.forward = forward_softmax<Cuda>;
  entry.reference_forward = forward_softmax<Reference>;
  entry.backward = backward_softmax<Cpu>;
  entry.cuda.backward = backward_softmax<Cuda>;
  entry.reference_backward = backward_softmax<Reference>;
  entry.differentiable_inputs = [](const Attrs&, uint32_t) { return 1U; };
  entry.in_place_input = 0;
  entry.gradient_alias = [](const Attrs&, uint32_t) { return GradientAlias{0, 0}; };
  return entry;
}

}  // namespace quern::graph::ops
