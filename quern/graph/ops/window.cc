#include <algorithm>

#include "quern/graph/ops/backends.h"
#include "quern/graph/ops/ops.h"

// kUnfold, kConvolve and kMaxPool: square windows over pictures. kPool: a sequence weighed by
// learned scores.
namespace quern::graph::ops {
namespace {

namespace cpu = kernels::cpu;
enum Input : size_t { kX, kScores, kLengths, kWeight = kScores };
enum Output : size_t { kY, kChosen };

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

Types infer_convolve(const Attrs& attrs, std::span<const TensorType> inputs) {
  const cpu::Windows w = checked_windows(OpCode::kConvolve, attrs, inputs);
  const Check check(OpCode::kConvolve, inputs);
  check.floats({kWeight});
  check.rank(kWeight, 2);
  check.require(w.stride == 1, "a convolution has stride 1", "pool after it");
  check.require(check.shape(kWeight)[1] == w.pixels(),
                "weight has a column for each pixel and channel of a window",
                "weight is (outputs, kernel · kernel · channels)");
  return {f32({w.batch, w.rows(), w.columns(), check.shape(kWeight)[0]})};
}

template <typename Kernels>
size_t convolve_scratch(const Attrs& attrs, std::span<const TensorType> inputs) {
  return Kernels::convolve_scratch(
      windows(attributes<WindowAttrs>(OpCode::kConvolve, attrs), inputs[kX].shape),
      inputs[kWeight].shape[0]);
}

template <typename Kernels>
size_t convolve_backward_scratch(const Attrs& attrs, std::span<const TensorType> inputs) {
  const cpu::Windows w =
      windows(attributes<WindowAttrs>(OpCode::kConvolve, attrs), inputs[kX].shape);
  const int64_t outputs = inputs[kWeight].shape[0];
  return std::max(Kernels::convolve_backward_scratch(w, outputs),
                  Kernels::convolve_weight_scratch(w, outputs));
}

template <typename Kernels>
void forward_convolve(const KernelCall& call) {
  Kernels(call).convolve(arguments(call, call.inputs[kX].shape()), call.inputs[kWeight].shape()[0],
                         call.inputs[kX].f32(), call.inputs[kWeight].f32(), call.outputs[kY].f32());
}

template <typename Kernels>
void backward_convolve(const KernelCall& call) {
  const cpu::Windows w = arguments(call, call.inputs[kX].shape());
  const int64_t outputs = call.inputs[kWeight].shape()[0];
  const float* grad = call.output_grads[kY].f32();
  if (wants(call, kX)) {
    Kernels(call).convolve_backward(w, outputs, call.inputs[kWeight].f32(), grad,
                                    call.input_grads[kX].f32(), call.accumulate[kX]);
  }
  if (wants(call, kWeight)) {
    Kernels(call).convolve_weight_backward(w, outputs, call.inputs[kX].f32(), grad,
                                           call.input_grads[kWeight].f32(),
                                           call.accumulate[kWeight]);
  }
}

double convolve_flops(const Attrs& attrs, std::span<const TensorType> inputs) {
  const cpu::Windows w =
      windows(attributes<WindowAttrs>(OpCode::kConvolve, attrs), inputs[kX].shape);
  return 2.0 * static_cast<double>(w.batch * w.count()) *
         static_cast<double>(inputs[kWeight].shape.elements());
}

Types infer_max_pool(const Attrs& attrs, std::span<const TensorType> inputs) {
  const cpu::Windows w = checked_windows(OpCode::kMaxPool, attrs, inputs);
  const Check check(OpCode::kMaxPool, inputs);
  check.require(w.kernel <= 15, "a pooling window has at most 15 pixels a side",
                "use a smaller window");
  const Shape y{w.batch, w.rows(), w.columns(), w.channels};
  return {f32(y), {DType::kU8, y}};
}

template <typename Kernels>
void forward_max_pool(const KernelCall& call) {
  Kernels(call).max_pool(arguments(call, call.inputs[kX].shape()),
                         attributes<WindowAttrs>(call).relu, call.inputs[kX].f32(),
                         call.outputs[kY].f32(),
                         reinterpret_cast<uint8_t*>(call.outputs[kChosen].data));
}

template <typename Kernels>
void backward_max_pool(const KernelCall& call) {
  Kernels(call).max_pool_backward(arguments(call, call.input_grads[kX].shape()),
                                  reinterpret_cast<const uint8_t*>(call.outputs[kChosen].data),
                                  call.output_grads[kY].f32(), call.input_grads[kX].f32(),
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
  Kernels(call).pool_backward(
      pool_arguments(call), call.inputs[kX].f32(), call.inputs[kScores].f32(),
      call.output_grads[0].f32(), or_null_out<float>(call.input_grads, kX), call.accumulate[kX],
      or_null_out<float>(call.input_grads, kScores), call.accumulate[kScores]);
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

OpEntry convolve_op() {
  OpEntry entry = over_windows(OpCode::kConvolve, "convolve");
  entry.input_names = {"x", "weight"};
  entry.required_inputs = 1U << kX | 1U << kWeight;
  entry.max_inputs = 2;
  entry.infer = infer_convolve;
  entry.saved = [](const Attrs&, uint32_t) { return Saved{.inputs = 1U << kX | 1U << kWeight}; };
  entry.forward_scratch = convolve_scratch<Cpu>;
  entry.cuda.forward_scratch = convolve_scratch<Cuda>;
  entry.backward_scratch = convolve_backward_scratch<Cpu>;
  entry.cuda.backward_scratch = convolve_backward_scratch<Cuda>;
  entry.forward = forward_convolve<Cpu>;
  entry.cuda.forward = forward_convolve<Cuda>;
  entry.reference_forward = forward_convolve<Reference>;
  entry.backward = backward_convolve<Cpu>;
  entry.cuda.backward = backward_convolve<Cuda>;
  entry.reference_backward = backward_convolve<Reference>;
  entry.flops = convolve_flops;
  entry.differentiable_inputs = [](const Attrs&, uint32_t) { return 1U << kX | 1U << kWeight; };
  return entry;
}

OpEntry max_pool_op() {
  OpEntry entry = over_windows(OpCode::kMaxPool, "max_pool");
  entry.infer = infer_max_pool;
  entry.saved = [](const Attrs&, uint32_t) { return Saved{.outputs = 1U << kChosen}; };
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
