#pragma once

#include <cstddef>
#include <cstdint>

// Between the program and libquern_cudnn, the only part that is compiled against cuDNN: a table of
// plain functions. The program finds it at run time, so that it starts where there is no cuDNN, and
// the library is rebuilt for another cuDNN without the program.
extern "C" {

/// softmax(Q Kᵀ · scale + mask) V in bfloat16, its sums in float32. Query head h reads key-value
/// head h / (heads / kv_heads). Strides are in elements; those of the last axis are 1.
struct QuernCudnnAttention {
  int64_t batch, queries, keys, heads, kv_heads, head_dim;
  int64_t q_batch, q_row, q_head;        // of q and its gradient, (batch, queries, heads, head_dim)
  int64_t kv_batch, kv_row, kv_head;     // of k, v and their gradients, alike over keys
  int64_t out_batch, out_row, out_head;  // of out and its gradient
  int64_t stats_batch, stats_head;       // (batch, heads, queries) float32, rows side by side
  /// Query t stands at position keys - queries + t and sees no key after it.
  int causal;
  /// It sees this many keys back, itself included; 0: all.
  int64_t window;
  float scale;
};

struct QuernCudnnLibrary {
  int version;  // of this table
  /// Loads cuDNN for the GPU whose context is current; its work goes to the stream. Null on an
  /// error.
  void* (*create)(void* stream);
  void (*destroy)(void* handle);
  /// Chooses the kernels of a forward or a backward pass (the deterministic one). Null where cuDNN
  /// has none.
  void* (*plan)(void* handle, const QuernCudnnAttention* attention, int backward);
  void (*destroy_plan)(void* plan);
  /// Bytes of the device's memory that a run of the plan needs.
  size_t (*workspace)(const void* plan);
  /// Queues a run; stats are each row's log of the sum of exponentials. 0, or -1 on an error.
  int (*forward)(void* handle, void* plan, const void* q, const void* k, const void* v, void* out,
                 float* stats, void* workspace);
  int (*backward)(void* handle, void* plan, const void* q, const void* k, const void* v,
                  const void* out, const float* stats, const void* out_grad, void* q_grad,
                  void* k_grad, void* v_grad, void* workspace);
  /// What the last call that failed says.
  const char* (*last_error)();
};

/// The one symbol of libquern_cudnn.
const QuernCudnnLibrary* quern_cudnn_library();
}

namespace quern::kernels::cuda {
inline constexpr int kCudnnLibraryVersion = 1;
inline constexpr const char* kCudnnLibrarySymbol = "quern_cudnn_library";
inline constexpr const char* kCudnnLibraryFile = "libquern_cudnn.so";
}  // namespace quern::kernels::cuda
