#include <algorithm>

#include "quern/graph/ops/backends.h"
#include "quern/graph/ops/ops.h"

// kGroupedLinear: y[b,g] = W[g] x[b,g] + bias[g], one product a group over strided rows.
// kMemberScale: y[b,k] = x[b] ∘ scale[k].
namespace quern::graph::ops {
namespace {

namespace cpu = kernels::cpu;
enum Input : size_t { kX, kWeight, kBias };

Types infer(const Attrs&, std::span<const TensorType> inputs) {
  const Check check(OpCode::kGroupedLinear, inputs);
  check.floats({kX, kWeight, kBias});
  check.rank(kX, 3);
  check.rank(kWeight, 3);
  const Shape& x = check.shape(kX);
  const Shape& weight = check.shape(kWeight);
  check.require(x[1] == weight[0] && x[2] == weight[2],
                "x (B, G, K) must agree with weight (G, N, K) in G and K",
                "weight holds one (outputs, inputs) matrix a group");
  check.shape_is(kBias, Shape{weight[0], weight[1]}, "one a row of weight");
  return {f32({x[0], x[1], weight[1]})};
}

struct Extents {
  int64_t rows, groups, n, k;
};
Extents extents(const TensorType& x, const TensorType& weight) {
  return {x.shape[0], x.shape[1], weight.shape[1], weight.shape[2]};
}

cpu::Gemm forward_shape(const Extents& e) {
  cpu::Gemm gemm;
  gemm.m = e.rows;
  gemm.n = e.n;
  gemm.k = gemm.ldb = e.k;
  gemm.lda = e.groups * e.k;
  gemm.transpose_b = true;
  gemm.ldc = e.groups * e.n;
  return gemm;
}
cpu::Gemm x_grad_shape(const Extents& e) {
  cpu::Gemm gemm;  // dX (rows,K) = dY (rows,N) · W (N,K)
  gemm.m = e.rows;
  gemm.n = gemm.ldb = e.k;
  gemm.k = e.n;
  gemm.lda = e.groups * e.n;
  gemm.ldc = e.groups * e.k;
  return gemm;
}
cpu::Gemm weight_grad_shape(const Extents& e) {
  cpu::Gemm gemm;  // dW (N,K) = dYᵀ (N,rows) · X (rows,K)
  gemm.m = e.n;
  gemm.n = gemm.ldc = e.k;
  gemm.k = e.rows;
  gemm.transpose_a = true;
  gemm.lda = e.groups * e.n;
  gemm.ldb = e.groups * e.k;
  return gemm;
}

template <typename Kernels>
size_t forward_scratch(const Attrs&, std::span<const TensorType> inputs) {
  return Kernels::gemm_scratch(forward_shape(extents(inputs[kX], inputs[kWeight])));
}
template <typename Kernels>
size_t backward_scratch(const Attrs&, std::span<const TensorType> inputs) {
  const Extents e = extents(inputs[kX], inputs[kWeight]);
  return std::max({Kernels::gemm_scratch(x_grad_shape(e)),
                   Kernels::gemm_scratch(weight_grad_shape(e)),
                   Kernels::column_sum_scratch(e.rows, e.groups * e.n)});
}

template <typename Kernels>
void forward(const KernelCall& call) {
  const Extents e = extents(call.inputs[kX].type, call.inputs[kWeight].type);
  const float* bias = f32_or_null(call.inputs, kBias);
  for (int64_t g = 0; g < e.groups; ++g) {
    cpu::Gemm gemm = forward_shape(e);
    gemm.a = call.inputs[kX].f32() + g * e.k;
    gemm.b = call.inputs[kWeight].f32() + g * e.n * e.k;
    gemm.c = call.outputs[0].f32() + g * e.n;
    gemm.bias = bias != nullptr ? bias + g * e.n : nullptr;
    Kernels(call).gemm(gemm);
  }
}

template <typename Kernels>
void backward(const KernelCall& call) {
  const Extents e = extents(call.inputs[kX].type, call.inputs[kWeight].type);
  const float* y_grad = call.output_grads[0].f32();
  for (int64_t g = 0; g < e.groups && wants(call, kX); ++g) {
    cpu::Gemm gemm = x_grad_shape(e);
    gemm.a = y_grad + g * e.n;
    gemm.b = call.inputs[kWeight].f32() + g * e.n * e.k;
    gemm.c = call.input_grads[kX].f32() + g * e.k;
    gemm.accumulate = call.accumulate[kX];
    Kernels(call).gemm(gemm);
  }
  for (int64_t g = 0; g < e.groups && wants(call, kWeight); ++g) {
    cpu::Gemm gemm = weight_grad_shape(e);
    gemm.a = y_grad + g * e.n;
    gemm.b = call.inputs[kX].f32() + g * e.k;
    gemm.c = call.input_grads[kWeight].f32() + g * e.n * e.k;
    gemm.accumulate = call.accumulate[kWeight];
    Kernels(call).gemm(gemm);
  }
  if (wants(call, kBias)) {
    Kernels(call).column_sum(y_grad, e.rows, e.groups * e.n, call.input_grads[kBias].f32(),
                             call.accumulate[kBias]);
  }
}

double flops(const Attrs&, std::span<const TensorType> inputs) {
  return 2.0 * static_cast<double>(inputs[kX].shape.elements()) *
         static_cast<double>(inputs[kWeight].shape[1]);
}

enum ScaleInput : size_t { kRow, kScale };

Types infer_member_scale(const Attrs&, std::span<const TensorType> inputs) {
  const Check check(OpCode::kMemberScale, inputs);
  check.floats({kRow, kScale});
  check.rank(kRow, 2);
  check.rank(kScale, 2);
  const Shape& x = check.shape(kRow);
  const Shape& scale = check.shape(kScale);
  check.require(x[1] == scale[1], "scale must be as wide as x", "declare it (members, width of x)");
  return {f32({x[0], scale[0], x[1]})};
}

cpu::MemberScale member_shape(const KernelCall& call) {
  const Shape& x = call.inputs[kRow].shape();
  return {.rows = x[0], .members = call.inputs[kScale].shape()[0], .width = x[1]};
}

template <typename Kernels>
void forward_member_scale(const KernelCall& call) {
  Kernels(call).member_scale(member_shape(call), call.inputs[kRow].f32(), call.inputs[kScale].f32(),
                             call.outputs[0].f32());
}

template <typename Kernels>
void backward_member_scale(const KernelCall& call) {
  const auto grad = [&](size_t i) { return wants(call, i) ? call.input_grads[i].f32() : nullptr; };
  Kernels(call).member_scale_backward(member_shape(call), call.inputs[kRow].f32(),
                                      call.inputs[kScale].f32(), call.output_grads[0].f32(),
                                      grad(kRow), call.accumulate[kRow], grad(kScale),
                                      call.accumulate[kScale]);
}

}  // namespace

OpEntry grouped_linear_op() {
  OpEntry entry;
  entry.code = OpCode::kGroupedLinear;
  entry.name = "grouped_linear";
  entry.input_names = {"x", "weight", "bias"};
  entry.required_inputs = 1U << kX | 1U << kWeight;
  entry.max_inputs = 3;
  entry.infer = infer;
  entry.saved = [](const Attrs&, uint32_t) { return Saved{.inputs = 1U << kX | 1U << kWeight}; };
  entry.forward_scratch = forward_scratch<Cpu>;
  entry.cuda.forward_scratch = forward_scratch<Cuda>;
  entry.backward_scratch = backward_scratch<Cpu>;
  entry.cuda.backward_scratch = backward_scratch<Cuda>;
  entry.forward = forward<Cpu>;
  entry.cuda.forward = forward<Cuda>;
  entry.reference_forward = forward<Reference>;
  entry.backward = backward<Cpu>;
  entry.cuda.backward = backward<Cuda>;
  entry.reference_backward = backward<Reference>;
  entry.flops = flops;
  entry.differentiable_inputs = [](const Attrs&, uint32_t) { return 0b111U; };
  return entry;
}

OpEntry member_scale_op() {
  OpEntry entry;
  entry.code = OpCode::kMemberScale;
  entry.name = "member_scale";
  entry.input_names = {"x", "scale"};
  entry.required_inputs = 0b11;
  entry.max_inputs = 2;
  entry.infer = infer_member_scale;
  entry.saved = [](const Attrs&, uint32_t) { return Saved{.inputs = 0b11}; };
  entry.forward_scratch = no_scratch;
  entry.backward_scratch = no_scratch;
  entry.forward = forward_member_scale<Cpu>;
  entry.cuda.forward = forward_member_scale<Cuda>;
  entry.reference_forward = forward_member_scale<Reference>;
  entry.backward = backward_member_scale<Cpu>;
  entry.cuda.backward = backward_member_scale<Cuda>;
  entry.reference_backward = backward_member_scale<Reference>;
  entry.differentiable_inputs = [](const Attrs&, uint32_t) { return 0b11U; };
  return entry;
}

}  // namespace quern::graph::ops
