#include "quern/graph/ops/backends.h"
#include "quern/graph/ops/ops.h"

// Keys and values of new positions go into the caches at offsets[b] + t.
namespace quern::graph::ops {
namespace {

enum Input : size_t { kQkv, kKCache, kVCache, kOffsets };

Types infer(const Attrs& attrs, std::span<const TensorType> inputs) {
  const auto& heads = attributes<HeadsAttrs>(OpCode::kCacheWrite, attrs);
  const Check check(OpCode::kCacheWrite, inputs);
  check.activations();
  check.dtype(kOffsets, DType::kI32);
  check.rank(kQkv, 3);
  check.rank(kKCache, 4);
  const Shape& qkv = check.shape(kQkv);
  check.require(qkv[2] == (heads.heads + 2 * heads.kv_heads) * heads.head_dim,
                "the last extent of qkv must be (heads + 2 kv_heads) head_dim",
                "check the rows of the qkv projection");
  const Shape cache{qkv[0], heads.kv_heads, check.shape(kKCache)[2], heads.head_dim};
  check.shape_is(kKCache, cache, "(B, kv_heads, capacity, head_dim)");
  check.shape_is(kVCache, cache, "the shape of k_cache");
  check.shape_is(kOffsets, Shape{qkv[0]}, "one a batch row");
  check.require(cache[2] >= qkv[1], "the cache must hold the positions written at once",
                "raise the cache's capacity, or write in smaller pieces");
  return {};
}

template <typename T>
kernels::cpu::CacheWriteOf<T> arguments(const KernelCall& call) {
  const auto& heads = attributes<HeadsAttrs>(call);
  kernels::cpu::CacheWriteOf<T> write;
  write.batch = call.inputs[kQkv].shape()[0];
  write.rows = call.inputs[kQkv].shape()[1];
  write.heads = heads.heads;
  write.kv_heads = heads.kv_heads;
  write.head_dim = heads.head_dim;
  write.capacity = call.inputs[kKCache].shape()[2];
  write.qkv = call.inputs[kQkv].as<T>();
  write.offsets = call.inputs[kOffsets].i32();
  write.k_cache = call.inputs[kKCache].as<T>();
  write.v_cache = call.inputs[kVCache].as<T>();
  return write;
}

template <typename Kernels, typename T = float>
void forward(const KernelCall& call) {
  Kernels(call).cache_write(arguments<T>(call));
}

}  // namespace

OpEntry cache_write_op() {
  OpEntry entry;
  entry.code = OpCode::kCacheWrite;
  entry.name = "cache_write";
  entry.kind = OpKind::kStateful;
  entry.input_names = {"qkv", "k_cache", "v_cache", "offsets"};
  entry.required_inputs = 0b1111;
  entry.max_inputs = 4;
  entry.activations = 1U << kQkv | 1U << kKCache | 1U << kVCache;
  entry.infer = infer;
  entry.saved = saves_nothing;
  entry.forward_scratch = no_scratch;
  entry.backward_scratch = no_scratch;
  entry.forward = forward<Cpu>;
  entry.cuda.forward = by_type<forward<Cuda>, forward<Cuda, BFloat16>, kQkv>;
  entry.reference_forward = forward<Reference>;
  return entry;
}

}  // namespace quern::graph::ops
