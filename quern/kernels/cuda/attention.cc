#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <type_traits>

#include "quern/kernels/cuda/attention_mma.h"
#include "quern/kernels/cuda/attention_tile.h"
#include "quern/kernels/cuda/cudnn_attention.h"
#include "quern/kernels/cuda/kernels.h"
#include "quern/kernels/cuda/launch.h"
#include "quern/tensor/buffer.h"

namespace quern::kernels::cuda {
namespace {

uint32_t threshold_of(float dropout) {
  return static_cast<uint32_t>(std::min(4294967295.0, static_cast<double>(dropout) * 4294967296.0));
}

/// `tiles` rows of 16 heads' vectors in shared memory; throws ShapeError where they do not fit.
template <typename T>
LaunchSize size_of(const Context& context, const cpu::AttentionOf<T>& attention, int64_t rows,
                   int64_t heads, int64_t tiles) {
  LaunchSize size;
  size.blocks_x = static_cast<uint32_t>(parts_of(rows, kAttentionTile));
  size.blocks_y = static_cast<uint32_t>(heads);
  size.blocks_z = static_cast<uint32_t>(attention.batch);
  size.threads = kAttentionTile * kAttentionTile;
  size.shared_bytes =
      static_cast<size_t>(tiles * kAttentionTile * (attention.head_dim + 1)) * sizeof(float);
  if (attention.head_dim > kMaxHeadDim || size.shared_bytes > context.driver.shared_limit()) {
    throw ShapeError(fmt::format("attention: heads of {} values are too wide for this device",
                                 attention.head_dim),
                     "use more heads, so that width / heads is smaller");
  }
  return size;
}

/// Whether tensor cores may compute it, as far as its shape tells: rows are copied 16 aligned bytes
/// at a time.
bool suits_tensor_cores(const cpu::AttentionOf<BFloat16>& a) {
  constexpr int64_t kAligned = 8;  // values
  for (const int64_t stride : {a.q_batch, a.q_row, a.q_head, a.kv_batch, a.kv_row, a.kv_head}) {
    if (stride % kAligned != 0) return false;
  }
  return a.head_dim % mma::kRows == 0 && a.head_dim <= mma::kMaxHeadDim && a.scale > 0;
}
bool aligned(std::initializer_list<const void*> pointers) {
  return std::all_of(pointers.begin(), pointers.end(),
                     [](const void* data) { return reinterpret_cast<uintptr_t>(data) % 16 == 0; });
}

/// A kernel of attention_mma-inl.h by the widest heads that it takes.
struct ByHeadDim {
  const char *up_to_32, *up_to_64, *up_to_128;
};
#define QUERN_BY_HEAD_DIM(name) (ByHeadDim{name "_32", name "_64", name "_128"})
int width_of(int64_t head_dim) { return head_dim <= 32 ? 32 : head_dim <= 64 ? 64 : 128; }

/// `blocks` for each of `heads` of each batch row.
template <typename Arguments>
void launch_mma(const Context& context, const ByHeadDim& kernel, int64_t blocks, int64_t heads,
                size_t shared_bytes, const Arguments& arguments) {
  const int width = width_of(arguments.attention.head_dim);
  const char* name = width == 32   ? kernel.up_to_32
                     : width == 64 ? kernel.up_to_64
                                   : kernel.up_to_128;
  launch(context, name,
         {.blocks_x = static_cast<uint32_t>(blocks),
          .blocks_y = static_cast<uint32_t>(heads),
          .blocks_z = static_cast<uint32_t>(arguments.attention.batch),
          .threads = mma::kThreads,
          .shared_bytes = shared_bytes},
         arguments);
}

/// How a few queries over many keys are shared out; parts is 0 where they are not.
struct Split {
  int64_t row_tiles = 0, parts = 0;
  int64_t shares(const cpu::AttentionOf<BFloat16>& a) const {
    return a.batch * a.heads * a.queries * parts * mma::kWarps;
  }
};
/// As many parts as fill a large GPU, of at least two tiles of keys each.
Split split_of(const cpu::AttentionOf<BFloat16>& a) {
  constexpr int64_t kBlocks = 512;
  constexpr int64_t kMostParts = 64;
  if (a.queries > mma::kMaxSplitQueries || a.capacity <= mma::kKeys || !suits_tensor_cores(a))
    return {};
  const int64_t row_tiles = parts_of(a.heads / a.kv_heads * a.queries, mma::kRows);
  const int64_t blocks = std::max<int64_t>(1, a.batch * a.kv_heads * row_tiles);
  const int64_t most = std::min(kMostParts, parts_of(a.capacity, 2 * mma::kKeys));
  return {row_tiles, std::clamp<int64_t>(kBlocks / blocks, 1, most)};
}

void launch_split(const Context& context, const cpu::AttentionOf<BFloat16>& attention,
                  const Split& split, BFloat16* out, float* lse, std::byte* scratch) {
  auto* softmax = reinterpret_cast<float*>(scratch);
  const arguments::AttentionSplit arguments{attention,   threshold_of(attention.dropout),
                                            split.parts, softmax + 2 * split.shares(attention),
                                            softmax,     out,
                                            lse};
  launch_mma(context, QUERN_BY_HEAD_DIM("quern_attention_split"), split.parts,
             attention.kv_heads * split.row_tiles,
             mma::key_stage_bytes(width_of(attention.head_dim)), arguments);
  launch_warps(context, "quern_attention_join",
               attention.batch * attention.heads * attention.queries, arguments);
}

/// False where the shape, its pointers or the device's shared memory are not for tensor cores.
bool forward_on_tensor_cores(const Context& context, const cpu::AttentionOf<BFloat16>& attention,
                             BFloat16* out, float* lse, std::byte* scratch) {
  const int width = width_of(attention.head_dim);
  const size_t shared_bytes = mma::key_stage_bytes(width);
  if (!suits_tensor_cores(attention) || shared_bytes > context.driver.shared_limit() ||
      !aligned({attention.q, attention.k, attention.v, out}))
    return false;
  if (const Split split = split_of(attention); split.parts > 0) {
    launch_split(context, attention, split, out, lse, scratch);
    return true;
  }
  launch_mma(context, QUERN_BY_HEAD_DIM("quern_attention_mma_forward"),
             parts_of(attention.queries, mma::query_rows(width)), attention.heads, shared_bytes,
             arguments::Attention<BFloat16>{attention, threshold_of(attention.dropout), out, lse});
  return true;
}

bool backward_on_tensor_cores(const Context& context,
                              const arguments::AttentionBackward<BFloat16>& arguments) {
  const cpu::AttentionOf<BFloat16>& a = arguments.attention;
  const int width = width_of(a.head_dim);
  const size_t q_bytes = mma::key_stage_bytes(width);
  const size_t kv_bytes = mma::query_stage_bytes(width);
  if (!suits_tensor_cores(a) || std::max(q_bytes, kv_bytes) > context.driver.shared_limit() ||
      !aligned({a.q, a.k, a.v, arguments.out_grad, arguments.q_grad, arguments.k_grad,
                arguments.v_grad}))
    return false;
  launch_mma(context, QUERN_BY_HEAD_DIM("quern_attention_mma_backward_q"),
             parts_of(a.queries, mma::query_rows(width)), a.heads, q_bytes, arguments);
  launch_mma(context, QUERN_BY_HEAD_DIM("quern_attention_mma_backward_kv"),
             parts_of(a.capacity, mma::kKeys), a.kv_heads, kv_bytes, arguments);
  return true;
}

}  // namespace

template <typename T>
size_t attention_forward_scratch(const cpu::AttentionOf<T>& attention) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    const auto floats =
        static_cast<size_t>(split_of(attention).shares(attention) * (attention.head_dim + 2));
    return std::max(Buffer::align(floats * sizeof(float)), cudnn_forward_scratch(attention));
  }
  return 0;
}

template <typename T>
void attention_forward(const Context& context, const cpu::AttentionOf<T>& attention, T* out,
                       float* lse, [[maybe_unused]] std::byte* scratch) {
  if (attention.batch == 0 || attention.queries == 0) return;
  if constexpr (std::is_same_v<T, BFloat16>) {
    if (context.cudnn != nullptr && context.cudnn->forward(attention, out, lse, scratch)) return;
    if (forward_on_tensor_cores(context, attention, out, lse, scratch)) return;
  }
  launch(context, name_of<T>("quern_attention_forward", "quern_attention_forward_bf16"),
         size_of(context, attention, attention.queries, attention.heads, 2),
         arguments::Attention<T>{attention, threshold_of(attention.dropout), out, lse});
}

template <typename T>
size_t attention_backward_scratch(const cpu::AttentionOf<T>& attention) {
  size_t bytes = Buffer::align(
      static_cast<size_t>(attention.batch * attention.heads * attention.queries) * sizeof(float));
  if constexpr (std::is_same_v<T, BFloat16>)
    bytes = std::max(bytes, cudnn_backward_scratch(attention));
  return bytes;
}

template <typename T>
void attention_backward(const Context& context, const cpu::AttentionOf<T>& attention, const T* out,
                        const float* lse, const T* out_grad, T* q_grad, T* k_grad, T* v_grad,
                        std::byte* scratch) {
  if (attention.batch == 0 || attention.queries == 0) return;
  if constexpr (std::is_same_v<T, BFloat16>) {
    if (context.cudnn != nullptr &&
        context.cudnn->backward(attention, out, lse, out_grad, q_grad, k_grad, v_grad, scratch))
      return;
  }
  const arguments::AttentionBackward<T> arguments{
      attention, threshold_of(attention.dropout),   out,    lse,
      out_grad,  reinterpret_cast<float*>(scratch), q_grad, k_grad,
      v_grad};
  launch_warps(context, name_of<T>("quern_attention_delta", "quern_attention_delta_bf16"),
               attention.batch * attention.queries * attention.heads, arguments);
  if constexpr (std::is_same_v<T, BFloat16>) {
    if (backward_on_tensor_cores(context, arguments)) return;
  }
  launch(context, name_of<T>("quern_attention_backward_q", "quern_attention_backward_q_bf16"),
         size_of(context, attention, attention.queries, attention.heads, 4), arguments);
  launch(context, name_of<T>("quern_attention_backward_kv", "quern_attention_backward_kv_bf16"),
         size_of(context, attention, attention.capacity, attention.kv_heads, 4), arguments);
}

#define QUERN_INSTANTIATE(T)                                                                      \
  template size_t attention_forward_scratch(const cpu::AttentionOf<T>&);                          \
  template void attention_forward(const Context&, const cpu::AttentionOf<T>&, Written<T>, float*, \
                                  std::byte*);                                                    \
  template size_t attention_backward_scratch(const cpu::AttentionOf<T>&);                         \
  template void attention_backward(const Context&, const cpu::AttentionOf<T>&, Read<T>,           \
                                   const float*, Read<T>, Written<T>, Written<T>, Written<T>,     \
                                   std::byte*);
QUERN_INSTANTIATE(float)
QUERN_INSTANTIATE(BFloat16)
#undef QUERN_INSTANTIATE

}  // namespace quern::kernels::cuda
