
#include "quern/graph/ops/backends.h"
#include "quern/graph/ops/ops.h"
#include "quern/graph/quantized.h"

// y[row] = scale · Σ table[ids[row]] + positions[offset + t]. The table may be quantised: then it
// has no gradient.
namespace quern::graph::ops {
namespace {

namespace cpu = kernels::cpu;
enum Input : size_t { kIds, kTable, kPositions, kOffsets };

Types infer(const Attrs& attrs, std::span<const TensorType> inputs) {
  const DType dtype = attributes<EmbeddingAttrs>(OpCode::kEmbedding, attrs).dtype;
  const Check check(OpCode::kEmbedding, inputs);
  check.dtype(kIds, DType::kI32);
  check.floats({kPositions});
  if (is_quantized(inputs[kTable].dtype)) {
    check.quantized(kTable);
  } else {
    check.dtype(kTable, DType::kF32);
  }
  check.rank(kTable, 2);
  const Shape& ids = check.shape(kIds);
  check.require(ids.rank() == 2 || ids.rank() == 3, "ids must be (B, T) or (B, T, G)",
                "give one id, or a bag of G ids, to each position");
  const int64_t width = check.shape(kTable)[1];
  if (check.has(kPositions)) {
    check.rank(kPositions, 2);
    check.require(check.shape(kPositions)[1] == width, "positions must be as wide as table",
                  "declare both with the model's width");
    check.require(check.shape(kPositions)[0] >= ids[1], "positions must have a row for every t",
                  "raise the context, or shorten the sequence");
  }
  if (check.has(kOffsets)) {
    check.dtype(kOffsets, DType::kI32);
    check.shape_is(kOffsets, Shape{ids[0]}, "one a batch row");
  }
  return {{dtype, {ids[0], ids[1], width}}};
}

Saved saved(const Attrs&, uint32_t present) {
  return {.inputs = (1U << kIds | 1U << kOffsets) & present};
}

cpu::Embedding shape(const Attrs& attrs, const Shape& ids, const Shape& table) {
  cpu::Embedding embedding;
  embedding.batch = ids[0];
  embedding.length = ids[1];
  embedding.bag = ids.rank() == 3 ? ids[2] : 1;
  embedding.vocabulary = table[0];
  embedding.width = table[1];
  embedding.scale = attributes<EmbeddingAttrs>(OpCode::kEmbedding, attrs).scale;
  return embedding;
}
cpu::Embedding arguments(const KernelCall& call) {
  cpu::Embedding embedding =
      shape(*call.attrs, call.inputs[kIds].shape(), call.inputs[kTable].shape());
  embedding.ids = call.inputs[kIds].i32();
  if (is_quantized(call.inputs[kTable].type.dtype)) {
    embedding.quantized = quantized_matrix(call.inputs[kTable]);
  } else {
    embedding.table = call.inputs[kTable].f32();
  }
  embedding.positions = f32_or_null(call.inputs, kPositions);
  embedding.offsets = i32_or_null(call.inputs, kOffsets);
  return embedding;
}

template <typename Kernels, typename T = float>
void forward(const KernelCall& call) {
  Kernels(call).embedding_forward(arguments(call), call.outputs[0].as<T>());
}

template <typename Kernels>
size_t backward_scratch(const Attrs& attrs, std::span<const TensorType> inputs) {
  return Kernels::embedding_backward_scratch(
      shape(attrs, inputs[kIds].shape, inputs[kTable].shape));
}

template <typename Kernels, typename T = float>
void backward(const KernelCall& call) {
  const bool positions = wants(call, kPositions);
  Kernels(call).embedding_backward(
      arguments(call), call.output_grads[0].as<T>(), call.input_grads[kTable].f32(),
      call.accumulate[kTable], positions ? call.input_grads[kPositions].f32() : nullptr,
      call.accumulate[kPositions], positions ? call.inputs[kPositions].shape()[0] : 0);
}

bool stores_bf16(const KernelCall& call) {
  return attributes<EmbeddingAttrs>(call).dtype == DType::kBF16;
}

}  // namespace

OpEntry embedding_op() {
  OpEntry entry;
  entry.code = OpCode::kEmbedding;
  entry.name = "embedding";
  entry.input_names = {"ids", "table", "positions", "offsets"};
  entry.required_inputs = 1U << kIds | 1U << kTable;
  entry.max_inputs = 4;
  entry.infer = infer;
  entry.saved = saved;
  entry.forward_scratch = no_scratch;
  entry.backward_scratch = backward_scratch<Cpu>;
  entry.cuda.backward_scratch = backward_scratch<Cuda>;
  entry.forward = forward<Cpu>;
  entry.cuda.forward = [](const KernelCall& call) {
    stores_bf16(call) ? forward<Cuda, BFloat16>(call) : forward<Cuda>(call);
  };
  entry.reference_forward = forward<Reference>;
  entry.backward = backward<Cpu>;
  entry.cuda.backward = [](const KernelCall& call) {
    stores_bf16(call) ? backward<Cuda, BFloat16>(call) : backward<Cuda>(call);
  };
  entry.reference_backward = backward<Reference>;
  entry.differentiable_inputs = [](const Attrs&, uint32_t) {
    return 1U << kTable | 1U << kPositions;
  };
  return entry;
}

}  // namespace quern::graph::ops
