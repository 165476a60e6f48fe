#include <fmt/format.h>

#include "quern/kernels/cuda/attention_tile.h"
#include "quern/kernels/cuda/kernels.h"
#include "quern/kernels/cuda/launch.h"
#include "quern/tensor/buffer.h"

namespace quern::kernels::cuda {
namespace {

uint32_t threshold_of(const cpu::Attention& attention) {
  return static_cast<uint32_t>(
      std::min(4294967295.0, static_cast<double>(attention.dropout) * 4294967296.0));
}

/// `tiles` rows of 16 heads' vectors in shared memory; throws ShapeError where they do not fit.
LaunchSize size_of(const Context& context, const cpu::Attention& attention, int64_t rows,
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

size_t attention_forward_scratch(const cpu::Attention&) { return 0; }

void attention_forward(const Context& context, const cpu::Attention& attention, float* out,
                       float* lse, std::byte*) {
  if (attention.batch == 0 || attention.queries == 0) return;
  launch(context, "quern_attention_forward",
         size_of(context, attention, attention.queries, attention.heads, 2),
         arguments::Attention{attention, threshold_of(attention), out, lse});
}

size_t attention_backward_scratch(const cpu::Attention& attention) {
  return Buffer::align(static_cast<size_t>(attention.batch * attention.heads * attention.queries) *
                       sizeof(float));
}

void attention_backward(const Context& context, const cpu::Attention& attention, const float* out,
                        const float* lse, const float* out_grad, float* q_grad, float* k_grad,
                        float* v_grad, std::byte* scratch) {
  if (attention.batch == 0 || attention.queries == 0) return;
  const arguments::AttentionBackward arguments{
      attention, threshold_of(attention),           out,    lse,
      out_grad,  reinterpret_cast<float*>(scratch), q_grad, k_grad,
      v_grad};
  launch_warps(context, "quern_attention_delta",
               attention.batch * attention.queries * attention.heads, arguments);
  launch(context, "quern_attention_backward_q",
         size_of(context, attention, attention.queries, attention.heads, 4), arguments);
  launch(context, "quern_attention_backward_kv",
         size_of(context, attention, attention.capacity, attention.kv_heads, 4), arguments);
}

}  // namespace quern::kernels::cuda
