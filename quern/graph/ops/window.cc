#include "quern/graph/ops/backends.h"
#include "quern/graph/ops/ops.h"

// kUnfold and kMaxPool: square windows over pictures. kPool: a sequence weighed by learned scores.
namespace quern::graph::ops {
namespace {

namespace cpu = kernels::cpu;
enum Input : size_t { kX, kScores, kLengths };

cpu::Windows windows(const WindowAttrs& a, const Shape& x) {
  return {.batch = x[0],
          .height = x[1],
          .width = x[2],
          .channels = x[3],
          .kernel = a.kernel,
          .stride = a.stride,
          .padding = a.padding};
}

cpu::Windows checked_windows(OpCode code, const Attrs& attrs, std::span<const TensorType> inputs) {
  const auto& a = attributes<WindowAttrs>(code, attrs);
  const Check check(code, inputs);
  check.floats({kX});
  check.rank(kX, 4);
  check.require(a.kernel >= 1 && a.stride >= 1 && a.padding >= 0 && a.padding < a.kernel,
                "a window has kernel >= 1, stride >= 1 and 0 <= padding < kernel",
                "give each window a pixel of the picture");
  const Shape& x = check.shape(kX);
  check.require(x[1] + 2 * a.padding >= a.kernel && x[2] + 2 * a.padding >= a.kernel,
                "the picture is smaller than the window", "use a smaller window, or more padding");
  return windows(a, x);
}

cpu::Windows arguments(const KernelCall& call, const Shape& x) {
  return windows(attributes<WindowAttrs>(call), x);
}

Types infer_unfold(const Attrs& attrs, std::span<const TensorType> inputs) {
  const cpu::Windows w = checked_windows(OpCode::kUnfold, attrs, inputs);
  return {f32({w.batch, w.rows(), w.columns(), w.kernel * w.kernel * w.channels})};
}

template <typename Kernels>
void forward_unfold(const KernelCall& call) {
  Kernels(call).unfold(arguments(call, call.inputs[kX].shape()), call.inputs[kX].f32(),
                       call.outputs[0].f32());
}

template <typename Kernels>
void backward_unfold(const KernelCall& call) {
  Kernels(call).unfold_backward(arguments(call, call.input_grads[kX].shape()),
                                call.output_grads[0].f32(), call.input_grads[kX].f32(),
                                call.accumulate[kX]);
}

Types infer_max_pool(const Attrs& attrs, std::span<const TensorType> inputs) {
  const cpu::Windows w = checked_windows(OpCode::kMaxPool, attrs, inputs);
  return {f32({w.batch, w.rows(), w.columns(), w.channels})};
}

template <typename Kernels>
void forward_max_pool(const KernelCall& call) {
  Kernels(call).max_pool(arguments(call, call.inputs[kX].shape()), call.inputs[kX].f32(),
                         call.outputs[0].f32());
}

template <typename Kernels>
void backward_max_pool(const KernelCall& call) {
  Kernels(call).max_pool_backward(arguments(call, call.inputs[kX].shape()), call.inputs[kX].f32(),
                                  call.output_grads[0].f32(), call.input_grads[kX].f32(),
                                  call.accumulate[kX]);
}

Types infer_pool(const Attrs&, std::span<const TensorType> inputs) {
  const Check check(OpCode::kPool, inputs);
  check.floats({kX, kScores});
  check.rank(kX, 3);
  const Shape& x = check.shape(kX);
  check.shape_is(kScores, Shape{x[0], x[1]}, "one score a position");
  if (check.has(kLengths)) {
    check.dtype(kLengths, DType::kI32);
    check.shape_is(kLengths, Shape{x[0]}, "one a batch row");
  }
  return {f32({x[0], x[2]})};
}

cpu::Pool pool_arguments(const KernelCall& call) {
  const Shape& x = call.inputs[kX].shape();
  return {
      .batch = x[0], .length = x[1], .width = x[2], .lengths = i32_or_null(call.inputs, kLengths)};
}

template <typename Kernels>
void forward_pool(const KernelCall& call) {
  Kernels(call).pool(pool_arguments(call), call.inputs[kX].f32(), call.inputs[kScores].f32(),
                     call.outputs[0].f32());
}

template <typename Kernels>
void backward_pool(const KernelCall& call) {
  Kernels(call).pool_backward(pool_arguments(call), call.inputs[kX].f32(),
                              call.inputs[kScores].f32(), call.output_grads[0].f32(),
                              f32_or_null_out(call.input_grads, kX), call.accumulate[kX],
                              f32_or_null_out(call.input_grads, kScores), call.accumulate[kScores]);
}

OpEntry over_windows(OpCode code, std::string_view name) {
  OpEntry entry;
  entry.code = code;
  entry.name = name;
  entry.input_names = {"x"};
  entry.required_inputs = 1U << kX;
  entry.max_inputs = 1;
  entry.saved = saves_nothing;
  entry.forward_scratch = no_scratch;
  entry.backward_scratch = no_scratch;
  entry.differentiable_inputs = [](const Attrs&, uint32_t) { return 1U << kX; };
  return entry;
}

}  // namespace

OpEntry unfold_op() {
  OpEntry entry = over_windows(OpCode::kUnfold, "unfold");
  entry.infer = infer_unfold;
  entry.forward = forward_unfold<Cpu>;
  entry.cuda.forward = forward_unfold<Cuda>;
  entry.reference_forward = forward_unfold<Reference>;
  entry.backward = backward_unfold<Cpu>;
  entry.cuda.backward = backward_unfold<Cuda>;
  entry.reference_backward = backward_unfold<Reference>;
  return entry;
}

OpEntry max_pool_op() {
  OpEntry entry = over_windows(OpCode::kMaxPool, "max_pool");
  entry.infer = infer_max_pool;
  entry.saved = [](const Attrs&, uint32_t) { return Saved{.inputs = 1U << kX}; };
  entry.forward = forward_max_pool<Cpu>;
  entry.cuda.forward = forward_max_pool<Cuda>;
  entry.reference_forward = forward_max_pool<Reference>;
  entry.backward = backward_max_pool<Cpu>;
  entry.cuda.backward = backward_max_pool<Cuda>;
  entry.reference_backward = backward_max_pool<Reference>;
  return entry;
}

OpEntry pool_op() {
  OpEntry entry;
  entry.code = OpCode::kPool;
  entry.name = "pool";
  entry.input_names = {"x", "scores", "lengths"};
  entry.required_inputs = 1U << kX | 1U << kScores;
  entry.max_inputs = 3;
  entry.infer = infer_pool;
  entry.saved = [](const Attrs&, uint32_t present) { return Saved{.inputs = present}; };
  entry.forward_scratch = no_scratch;
  entry.backward_scratch = no_scratch;
  entry.forward = forward_pool<Cpu>;
  entry.cuda.forward = forward_pool<Cuda>;
  entry.reference_forward = forward_pool<Reference>;
  entry.backward = backward_pool<Cpu>;
  entry.cuda.backward = backward_pool<Cuda>;
  entry.reference_backward = backward_pool<Reference>;
  entry.differentiable_inputs = [](const Attrs&, uint32_t) { return 1U << kX | 1U << kScores; };
  return entry;
}

}  // namespace quern::graph::ops
