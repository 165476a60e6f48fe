#include "quern/graph/ops/backends.h"
#include "quern/graph/ops/ops.h"

// Rotates the query and key heads of packed qkv by their positions; backward turns back.
namespace quern::graph::ops {
namespace {

namespace cpu = kernels::cpu;
enum Input : size_t { kQkv, kTable, kOffsets };

Types infer(const Attrs& attrs, std::span<const TensorType> inputs) {
  const auto& heads = attributes<HeadsAttrs>(OpCode::kRope, attrs);
  const Check check(OpCode::kRope, inputs);
  check.activations();
  check.floats({kTable});
  check.rank(kQkv, 3);
  check.rank(kTable, 2);
  const Shape& qkv = check.shape(kQkv);
  check.require(heads.head_dim % 2 == 0, "head_dim must be even: the rotation is of pairs",
                "choose width and heads so that width / heads is even");
  check.require(qkv[2] == (heads.heads + 2 * heads.kv_heads) * heads.head_dim,
                "the last extent of qkv must be (heads + 2 kv_heads) head_dim",
                "check the rows of the qkv projection");
  check.require(check.shape(kTable)[1] == heads.head_dim, "table must be (positions, head_dim)",
                "fill it with head_dim / 2 cosines, then as many sines");
  check.require(check.shape(kTable)[0] >= qkv[1], "table must have a row for every t",
                "raise the context, or shorten the sequence");
  if (check.has(kOffsets)) {
    check.dtype(kOffsets, DType::kI32);
    check.shape_is(kOffsets, Shape{qkv[0]}, "one a batch row");
  }
  return {inputs[kQkv]};
}

Saved saved(const Attrs&, uint32_t present) {
  return {.inputs = (1U << kTable | 1U << kOffsets) & present};
}

cpu::Rope arguments(const KernelCall& call) {
  const auto& heads = attributes<HeadsAttrs>(call);
  cpu::Rope rope;
  rope.batch = call.inputs[kQkv].shape()[0];
  rope.rows = call.inputs[kQkv].shape()[1];
  rope.heads = heads.heads;
  rope.kv_heads = heads.kv_heads;
  rope.head_dim = heads.head_dim;
  rope.table = call.inputs[kTable].f32();
  rope.offsets = i32_or_null(call.inputs, kOffsets);
  return rope;
}

template <typename Kernels, typename T = float>
void forward(const KernelCall& call) {
  Kernels(call).rope(arguments(call), call.inputs[kQkv].as<T>(), call.outputs[0].as<T>(), false);
}

template <typename Kernels, typename T = float>
void backward(const KernelCall& call) {
  cpu::Rope rope = arguments(call);
  rope.inverse = true;
  Kernels(call).rope(rope, call.output_grads[0].as<T>(), call.input_grads[kQkv].as<T>(),
                     call.accumulate[kQkv]);
}

}  // namespace

OpEntry rope_op() {
  OpEntry entry;
  entry.code = OpCode::kRope;
  entry.name = "rope";
  entry.input_names = {"qkv", "table", "offsets"};
  entry.required_inputs = 1U << kQkv | 1U << kTable;
  entry.max_inputs = 3;
  entry.activations = 1U << kQkv;
  entry.infer = infer;
  entry.saved = saved;
  entry.forward_scratch = no_scratch;
  entry.backward_scratch = no_scratch;
  entry.forward = forward<Cpu>;
  entry.cuda.forward = by_type<forward<Cuda>, forward<Cuda, BFloat16>, kQkv>;
  entry.reference_forward = forward<Reference>;
  entry.backward = backward<Cpu>;
  entry.cuda.backward = by_type<backward<Cuda>, backward<Cuda, BFloat16>, kQkv>;
  entry.reference_backward = backward<Reference>;
  entry.differentiable_inputs = [](const Attrs&, uint32_t) { return 1U << kQkv; };
  entry.in_place_input = kQkv;
  entry.gradient_alias = [](const Attrs&, uint32_t) { return GradientAlias{kQkv, 0}; };
  return entry;
}

}  // namespace quern::graph::ops
