#include "quern/graph/ops/attention.h"

#include "quern/graph/ops/backends.h"
#include "quern/graph/ops/ops.h"

// softmax(Q Kᵀ · scale + masks) V over packed qkv, or over a cache with run-time lengths.
namespace quern::graph::ops {
namespace {

namespace cpu = kernels::cpu;
enum Input : size_t { kQkv, kKCache, kVCache, kLengths, kSegments, kSlopes, kRandom };
enum Output : size_t { kOut, kLogSumExp };

template <typename T = float>
cpu::AttentionOf<T> shape(const Attrs& node_attrs, const Shape& qkv, const Shape* cache) {
  const auto& attrs = attributes<AttentionAttrs>(OpCode::kAttention, node_attrs);
  cpu::AttentionOf<T> attention;
  attention.batch = qkv[0];
  attention.queries = qkv[1];
  attention.heads = attrs.heads;
  attention.kv_heads = attrs.kv_heads;
  attention.head_dim = attrs.head_dim;
  attention.q_row = qkv[2];
  attention.q_batch = qkv[1] * qkv[2];
  attention.q_head = attrs.head_dim;
  if (cache != nullptr) {
    attention.capacity = (*cache)[2];
    attention.kv_row = attrs.head_dim;
    attention.kv_head = attention.capacity * attrs.head_dim;
    attention.kv_batch = attrs.kv_heads * attention.kv_head;
  } else {
    attention.capacity = qkv[1];
    attention.kv_row = attention.q_row;
    attention.kv_head = attrs.head_dim;
    attention.kv_batch = attention.q_batch;
  }
  attention.causal = attrs.causal;
  attention.window = attrs.window;
  attention.scale = attrs.scale;
  attention.dropout = attrs.dropout;
  attention.layer = attrs.layer;
  return attention;
}

Types infer(const Attrs& node_attrs, std::span<const TensorType> inputs) {
  const auto& attrs = attributes<AttentionAttrs>(OpCode::kAttention, node_attrs);
  const Check check(OpCode::kAttention, inputs);
  check.activations();
  check.floats({kSlopes});
  check.rank(kQkv, 3);
  const Shape& qkv = check.shape(kQkv);
  check.require(attrs.heads > 0 && attrs.kv_heads > 0 && attrs.heads % attrs.kv_heads == 0,
                "heads must be a multiple of kv_heads", "set kv_heads to a divisor of heads");
  check.require(qkv[2] == (attrs.heads + 2 * attrs.kv_heads) * attrs.head_dim,
                "the last extent of qkv must be (heads + 2 kv_heads) head_dim",
                "check the rows of the qkv projection");
  check.require(check.has(kKCache) == check.has(kVCache), "k_cache and v_cache come together",
                "give both or neither");
  if (check.has(kKCache)) {
    check.rank(kKCache, 4);
    const Shape cache{qkv[0], attrs.kv_heads, check.shape(kKCache)[2], attrs.head_dim};
    check.shape_is(kKCache, cache, "(B, kv_heads, capacity, head_dim)");
    check.shape_is(kVCache, cache, "the shape of k_cache");
    check.require(check.has(kLengths), "attention over a cache needs lengths",
                  "give the valid slots of each batch row");
    check.require(!check.has(kSegments), "segments are of packed sequences, not of a cache",
                  "leave segments out when decoding");
  }
  if (check.has(kLengths)) {
    check.dtype(kLengths, DType::kI32);
    check.shape_is(kLengths, Shape{qkv[0]}, "one a batch row");
  }
  if (check.has(kSegments)) {
    check.dtype(kSegments, DType::kI32);
    check.shape_is(kSegments, Shape{qkv[0], qkv[1]}, "(B, T)");
  }
  check.shape_is(kSlopes, Shape{attrs.heads}, "one a head");
  check.require(attrs.dropout == 0 || check.has(kRandom), "dropout needs random",
                "give the graph's random input, or set dropout to 0");
  if (check.has(kRandom)) {
    check.dtype(kRandom, DType::kU32);
    check.shape_is(kRandom, Shape{4}, "seed low, seed high, step, first sample");
  }
  return {{inputs[kQkv].dtype, {qkv[0], qkv[1], attrs.heads * attrs.head_dim}},
          f32({qkv[0], attrs.heads, qkv[1]})};
}

Saved saved(const Attrs&, uint32_t present) {
  return {.inputs = present, .outputs = 1U << kOut | 1U << kLogSumExp};
}

template <typename T = float>
cpu::AttentionOf<T> shape(const Attrs& attrs, std::span<const TensorType> inputs) {
  return shape<T>(attrs, inputs[kQkv].shape,
                  Check::present(inputs, kKCache) ? &inputs[kKCache].shape : nullptr);
}
template <typename Kernels, typename T = float>
size_t forward_scratch(const Attrs& attrs, std::span<const TensorType> inputs) {
  return Kernels::attention_forward_scratch(shape<T>(attrs, inputs));
}
template <typename Kernels, typename T = float>
size_t backward_scratch(const Attrs& attrs, std::span<const TensorType> inputs) {
  return Kernels::attention_backward_scratch(shape<T>(attrs, inputs));
}

template <typename T>
cpu::AttentionOf<T> arguments(const KernelCall& call) {
  const bool cached = !absent(call.inputs, kKCache);
  cpu::AttentionOf<T> attention = shape<T>(*call.attrs, call.inputs[kQkv].shape(),
                                           cached ? &call.inputs[kKCache].shape() : nullptr);
  attention.q = call.inputs[kQkv].as<T>();
  if (cached) {
    attention.k = call.inputs[kKCache].as<T>();
    attention.v = call.inputs[kVCache].as<T>();
  } else {
    attention.k = attention.q + attention.heads * attention.head_dim;
    attention.v = attention.k + attention.kv_heads * attention.head_dim;
  }
  attention.lengths = i32_or_null(call.inputs, kLengths);
  attention.segments = i32_or_null(call.inputs, kSegments);
  attention.alibi_slopes = f32_or_null(call.inputs, kSlopes);
  attention.random = kRandom < call.inputs.size() ? call.inputs[kRandom].u32() : nullptr;
  return attention;
}

template <typename Kernels, typename T = float>
void forward(const KernelCall& call) {
  Kernels(call).attention_forward(arguments<T>(call), call.outputs[kOut].as<T>(),
                                  call.outputs[kLogSumExp].f32());
}

template <typename Kernels, typename T = float>
void backward(const KernelCall& call) {
  const cpu::AttentionOf<T> attention = arguments<T>(call);
  const int64_t k = attention.heads * attention.head_dim;
  const int64_t v = k + attention.kv_heads * attention.head_dim;
  T* grad = call.input_grads[kQkv].as<T>();
  Kernels(call).attention_backward(attention, call.outputs[kOut].as<T>(),
                                   call.outputs[kLogSumExp].f32(), call.output_grads[kOut].as<T>(),
                                   grad, grad + k, grad + v);
}

/// Q Kᵀ and P V; a causal mask over packed sequences halves both.
double flops(const Attrs& attrs, std::span<const TensorType> inputs) {
  const cpu::Attention a = shape(attrs, inputs);
  const bool half = a.causal && !Check::present(inputs, kKCache);
  return (half ? 2.0 : 4.0) * static_cast<double>(a.batch * a.heads * a.queries) *
         static_cast<double>(a.capacity * a.head_dim);
}

}  // namespace

cpu::Attention attention_arguments(const KernelCall& call) { return arguments<float>(call); }

OpEntry attention_op() {
  OpEntry entry;
  entry.code = OpCode::kAttention;
  entry.name = "attention";
  entry.input_names = {"qkv",      "k_cache",      "v_cache", "lengths",
                       "segments", "alibi_slopes", "random"};
  entry.required_inputs = 1U << kQkv;
  entry.max_inputs = 7;
  entry.activations = 1U << kQkv | 1U << kKCache | 1U << kVCache;
  entry.infer = infer;
  entry.saved = saved;
  entry.forward_scratch = forward_scratch<Cpu>;
  entry.cuda.forward_scratch = [](const Attrs& attrs, std::span<const TensorType> inputs) {
    return inputs[kQkv].dtype == DType::kBF16 ? forward_scratch<Cuda, BFloat16>(attrs, inputs)
                                              : forward_scratch<Cuda>(attrs, inputs);
  };
  entry.backward_scratch = backward_scratch<Cpu>;
  entry.cuda.backward_scratch = [](const Attrs& attrs, std::span<const TensorType> inputs) {
    return inputs[kQkv].dtype == DType::kBF16 ? backward_scratch<Cuda, BFloat16>(attrs, inputs)
                                              : backward_scratch<Cuda>(attrs, inputs);
  };
  entry.forward = forward<Cpu>;
  entry.cuda.forward = by_type<forward<Cuda>, forward<Cuda, BFloat16>, kQkv>;
  entry.reference_forward = forward<Reference>;
  entry.backward = backward<Cpu>;
  entry.cuda.backward = by_type<backward<Cuda>, backward<Cuda, BFloat16>, kQkv>;
  entry.reference_backward = backward<Reference>;
  entry.flops = flops;
  // Over a cache the keys of the past have no gradient to give: decoding is not trained through.
  entry.differentiable_inputs = [](const Attrs&, uint32_t present) {
    return (present >> kKCache & 1U) != 0 ? 0U : 1U << kQkv;
  };
  entry.overwrites_gradient = 1U << kQkv;
  return entry;
}

}  // namespace quern::graph::ops
