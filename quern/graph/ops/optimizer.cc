
#include <algorithm>

#include "quern/graph/ops/backends.h"
#include "quern/graph/ops/ops.h"

// The optimizer's steps. `hyper` holds what changes from step to step; the norm, where given,
// clips.
namespace quern::graph::ops {
namespace {

namespace cpu = kernels::cpu;
enum AdamInput : size_t { kParameter, kGradient, kM, kV, kAdamHyper, kAdamNorm };
enum MuonInput : size_t { kMomentum = 2, kMuonHyper, kMuonNorm };
enum EmaInput : size_t { kShadow = 1, kEmaHyper };

constexpr std::string_view kHyperShape = "the eight of enum Hyper";

OptimizerStep step_of(const KernelCall& call, size_t hyper, size_t norm) {
  const auto& attrs = attributes<OptimizerAttrs>(call);
  return {.hyper = call.inputs[hyper].f32(),
          .norm = f32_or_null(call.inputs, norm),
          .learning_rate_scale = attrs.learning_rate_scale,
          .momentum = attrs.momentum,
          .nesterov = attrs.nesterov};
}

Types infer_norm(const Attrs&, std::span<const TensorType> inputs) {
  Check(OpCode::kGradientNorm, inputs).floats({0});
  return {f32({1})};
}
template <typename Kernels>
size_t norm_scratch(const Attrs&, std::span<const TensorType> inputs) {
  return Kernels::sum_of_squares_scratch(inputs[0].shape.elements());
}
template <typename Kernels>
void forward_norm(const KernelCall& call) {
  Kernels(call).gradient_norm(call.inputs[0].f32(), call.inputs[0].elements(),
                              call.outputs[0].f32());
}

Types infer_adamw(const Attrs& attrs, std::span<const TensorType> inputs) {
  attributes<OptimizerAttrs>(OpCode::kAdamW, attrs);
  const Check check(OpCode::kAdamW, inputs);
  check.floats({kParameter, kGradient, kM, kV, kAdamHyper, kAdamNorm});
  for (const size_t i : {kGradient, kM, kV})
    check.shape_is(i, check.shape(kParameter), "the shape of parameter");
  check.shape_is(kAdamHyper, Shape{kHyperCount}, kHyperShape);
  check.shape_is(kAdamNorm, Shape{1}, "the global gradient norm");
  return {};
}
template <typename Kernels>
void forward_adamw(const KernelCall& call) {
  Kernels(call).adamw(step_of(call, kAdamHyper, kAdamNorm),
                      attributes<OptimizerAttrs>(call).weight_decay,
                      call.inputs[kParameter].elements(), call.inputs[kGradient].f32(),
                      call.inputs[kParameter].f32(), call.inputs[kM].f32(), call.inputs[kV].f32());
}

Types infer_muon(const Attrs& attrs, std::span<const TensorType> inputs) {
  attributes<OptimizerAttrs>(OpCode::kMuon, attrs);
  const Check check(OpCode::kMuon, inputs);
  check.floats({kParameter, kGradient, kMomentum, kMuonHyper, kMuonNorm});
  check.rank(kParameter, 2);
  for (const size_t i : {size_t{kGradient}, size_t{kMomentum}})
    check.shape_is(i, check.shape(kParameter), "the shape of parameter");
  check.shape_is(kMuonHyper, Shape{kHyperCount}, kHyperShape);
  check.shape_is(kMuonNorm, Shape{1}, "the global gradient norm");
  return {};
}
template <typename Kernels>
size_t muon_scratch(const Attrs&, std::span<const TensorType> inputs) {
  return Kernels::muon_scratch(inputs[kParameter].shape[0], inputs[kParameter].shape[1]);
}
/// Five steps of X·Xᵀ, its square, and their product with X, on the smaller side.
double muon_flops(const Attrs&, std::span<const TensorType> inputs) {
  const auto [low, high] = std::minmax({inputs[kParameter].shape[0], inputs[kParameter].shape[1]});
  const auto side = static_cast<double>(low);
  return 5 * 2 * side * side * (2 * static_cast<double>(high) + side);
}
template <typename Kernels>
void forward_muon(const KernelCall& call) {
  const Shape& shape = call.inputs[kParameter].shape();
  Kernels(call).muon(step_of(call, kMuonHyper, kMuonNorm),
                     attributes<OptimizerAttrs>(call).weight_decay, shape[0], shape[1],
                     call.inputs[kGradient].f32(), call.inputs[kParameter].f32(),
                     call.inputs[kMomentum].f32());
}

Types infer_ema(const Attrs& attrs, std::span<const TensorType> inputs) {
  attributes<OptimizerAttrs>(OpCode::kEma, attrs);
  const Check check(OpCode::kEma, inputs);
  check.floats({kParameter, kShadow, kEmaHyper});
  check.shape_is(kShadow, check.shape(kParameter), "the shape of parameter");
  check.shape_is(kEmaHyper, Shape{kHyperCount}, kHyperShape);
  return {};
}
template <typename Kernels>
void forward_ema(const KernelCall& call) {
  Kernels(call).ema(Scalar{call.inputs[kEmaHyper].f32() + kEmaDecay},
                    call.inputs[kParameter].elements(), call.inputs[kParameter].f32(),
                    call.inputs[kShadow].f32());
}

OpEntry step(OpCode code, std::string_view name, uint32_t required, size_t inputs) {
  OpEntry entry;
  entry.code = code;
  entry.name = name;
  entry.kind = OpKind::kStateful;
  entry.required_inputs = required;
  entry.max_inputs = inputs;
  entry.saved = saves_nothing;
  entry.forward_scratch = no_scratch;
  entry.backward_scratch = no_scratch;
  return entry;
}

}  // namespace

OpEntry gradient_norm_op() {
  OpEntry entry = step(OpCode::kGradientNorm, "gradient_norm", 1, 1);
  entry.kind = OpKind::kData;
  entry.input_names = {"gradients"};
  entry.infer = infer_norm;
  entry.forward_scratch = norm_scratch<Cpu>;
  entry.cuda.forward_scratch = norm_scratch<Cuda>;
  entry.forward = forward_norm<Cpu>;
  entry.cuda.forward = forward_norm<Cuda>;
  entry.reference_forward = forward_norm<Reference>;
  return entry;
}

OpEntry adamw_op() {
  OpEntry entry = step(OpCode::kAdamW, "adamw", 0b11111, 6);
  entry.input_names = {"parameter", "gradient", "m", "v", "hyper", "norm"};
  entry.infer = infer_adamw;
  entry.forward = forward_adamw<Cpu>;
  entry.cuda.forward = forward_adamw<Cuda>;
  entry.reference_forward = forward_adamw<Reference>;
  return entry;
}

OpEntry muon_op() {
  OpEntry entry = step(OpCode::kMuon, "muon", 0b1111, 5);
  entry.input_names = {"parameter", "gradient", "momentum", "hyper", "norm"};
  entry.infer = infer_muon;
  entry.forward_scratch = muon_scratch<Cpu>;
  entry.cuda.forward_scratch = muon_scratch<Cuda>;
  entry.flops = muon_flops;
  entry.forward = forward_muon<Cpu>;
  entry.cuda.forward = forward_muon<Cuda>;
  entry.reference_forward = forward_muon<Reference>;
  return entry;
}

OpEntry ema_op() {
  OpEntry entry = step(OpCode::kEma, "ema", 0b111, 3);
  entry.input_names = {"parameter", "shadow", "hyper"};
  entry.infer = infer_ema;
  entry.forward = forward_ema<Cpu>;
  entry.cuda.forward = forward_ema<Cuda>;
  entry.reference_forward = forward_ema<Reference>;
  return entry;
}

}  // namespace quern::graph::ops
