#include <fmt/format.h>

#include "quern/kernels/cuda/attention_tile.h"
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

}  // namespace

template <typename T>
size_t attention_forward_scratch(const cpu::AttentionOf<T>&) {
  return 0;
}

template <typename T>
void attention_forward(const Context& context, const cpu::AttentionOf<T>& attention, T* out,
                       float* lse, std::byte*) {
  if (attention.batch == 0 || attention.queries == 0) return;
  launch(context, name_of<T>("quern_attention_forward", "quern_attention_forward_bf16"),
         size_of(context, attention, attention.queries, attention.heads, 2),
         arguments::Attention<T>{attention, threshold_of(attention.dropout), out, lse});
}

template <typename T>
size_t attention_backward_scratch(const cpu::AttentionOf<T>& attention) {
  return Buffer::align(static_cast<size_t>(attention.batch * attention.heads * attention.queries) *
                       sizeof(float));
}

template <typename T>
void attention_backward(const Context& context, const cpu::AttentionOf<T>& attention, const T* out,
                        const float* lse, const T* out_grad, T* q_grad, T* k_grad, T* v_grad,
                        std::byte* scratch) {
  if (attention.batch == 0 || attention.queries == 0) return;
  const arguments::AttentionBackward<T> arguments{
      attention, threshold_of(attention.dropout),   out,    lse,
      out_grad,  reinterpret_cast<float*>(scratch), q_grad, k_grad,
      v_grad};
  launch_warps(context, name_of<T>("quern_attention_delta", "quern_attention_delta_bf16"),
               attention.batch * attention.queries * attention.heads, arguments);
  launch(context, name_of<T>("quern_attention_backward_q", "quern_attention_backward_q_bf16"),
         size_of(context, attention, attention.queries, attention.heads, 4), arguments);
  launch(context, name_of<T>("quern_attention_backward_kv", "quern_attention_backward_kv_bf16"),
         size_of(context, attention, attention.capacity, attention.kv_heads, 4), arguments);
}

#define QUERN_INSTANTIATE(T)                                                              \
  template size_t attention_forward_scratch(const cpu::AttentionOf<T>&);                  \
  template void attention_forward(const Context&, const cpu::AttentionOf<T>&, T*, float*, \
                                  std::byte*);                                            \
  template size_t attention_backward_scratch(const cpu::AttentionOf<T>&);                 \
  template void attention_backward(const Context&, const cpu::AttentionOf<T>&, const T*,  \
                                   const float*, const T*, T*, T*, T*, std::byte*);
QUERN_INSTANTIATE(float)
QUERN_INSTANTIATE(BFloat16)
#undef QUERN_INSTANTIATE

}  // namespace quern::kernels::cuda
