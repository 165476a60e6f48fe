#include "quern/kernels/cuda/kernels.h"
#include "quern/kernels/cuda/launch.h"

namespace quern::kernels::cuda {

void copy_blocks(const Context& context, const std::byte* from, size_t from_stride, std::byte* to,
                 size_t to_stride, int64_t blocks, size_t block_bytes) {
  const bool words = (from_stride | to_stride | block_bytes) % sizeof(float) == 0;
  const auto unit = [&](size_t bytes) {
    return static_cast<int64_t>(words ? bytes / sizeof(float) : bytes);
  };
  launch_threads(context, words ? "quern_move_words" : "quern_move_bytes",
                 blocks * unit(block_bytes),
                 arguments::Blocks{from, unit(from_stride), to, unit(to_stride), blocks,
                                   unit(block_bytes), false});
}

void add_blocks(const Context& context, const float* from, int64_t from_stride, float* to,
                int64_t to_stride, int64_t blocks, int64_t width) {
  launch_threads(
      context, "quern_move_words", blocks * width,
      arguments::Blocks{reinterpret_cast<const std::byte*>(from), from_stride,
                        reinterpret_cast<std::byte*>(to), to_stride, blocks, width, true});
}

void fill_zero(const Context& context, float* x, int64_t count) {
  context.driver.fill_zero(x, static_cast<size_t>(count) * sizeof(float), Queue::kCompute);
}

void member_scale(const Context& context, const cpu::MemberScale& shape, const float* x,
                  const float* scale, float* y) {
  launch_threads(context, "quern_member_scale", shape.rows * shape.members * shape.width,
                 arguments::MemberScale{shape, x, scale, nullptr, y, nullptr, false, false});
}

void member_scale_backward(const Context& context, const cpu::MemberScale& shape, const float* x,
                           const float* scale, const float* y_grad, float* x_grad,
                           bool accumulate_x, float* scale_grad, bool accumulate_scale) {
  const arguments::MemberScale arguments{shape,  x,          scale,        y_grad,
                                         x_grad, scale_grad, accumulate_x, accumulate_scale};
  if (x_grad != nullptr) {
    launch_threads(context, "quern_member_scale_backward_x", shape.rows * shape.width, arguments);
  }
  if (scale_grad != nullptr) {
    launch_threads(context, "quern_member_scale_backward_scale", shape.members * shape.width,
                   arguments);
  }
}

template <typename T>
void gather_rows(const Context& context, const cpu::Gather& gather, const T* x, T* y) {
  launch_threads(context, name_of<T>("quern_gather_rows", "quern_gather_rows_bf16"),
                 gather.batch * gather.width,
                 arguments::Gather<T>{gather, x, y, false, context.fault});
}

template <typename T>
void gather_rows_backward(const Context& context, const cpu::Gather& gather, const T* y_grad,
                          T* x_grad, bool accumulate) {
  launch_threads(context,
                 name_of<T>("quern_gather_rows_backward", "quern_gather_rows_backward_bf16"),
                 gather.batch * gather.length * gather.width,
                 arguments::Gather<T>{gather, y_grad, x_grad, accumulate, context.fault});
}

void reduce(const Context& context, const cpu::Reduce& reduce, const float* x, float* y) {
  launch_threads(context, "quern_reduce", reduce.batch * reduce.width,
                 arguments::Reduce{reduce, x, y, false});
}

void reduce_backward(const Context& context, const cpu::Reduce& reduce, const float* y_grad,
                     float* x_grad, bool accumulate) {
  launch_threads(context, "quern_reduce_backward", reduce.batch * reduce.length * reduce.width,
                 arguments::Reduce{reduce, y_grad, x_grad, accumulate});
}

template <typename T>
void cache_write(const Context& context, const cpu::CacheWriteOf<T>& write) {
  launch_threads(context, name_of<T>("quern_cache_write", "quern_cache_write_bf16"),
                 write.batch * write.rows * write.kv_heads * write.head_dim,
                 arguments::CacheWrite<T>{write, context.fault});
}

void cast(const Context& context, const void* from, DType from_dtype, void* to, DType to_dtype,
          int64_t count, bool accumulate) {
  launch_threads(context, "quern_cast", count,
                 arguments::Cast{from, to, from_dtype, to_dtype, count, accumulate});
}

void narrow(const Context& context, const float* from, int64_t count, const uint32_t* random,
            BFloat16* to) {
  launch_threads(context, "quern_narrow", parts_of(count, 8),
                 arguments::Narrow{from, to, count, random});
}

namespace {

arguments::Window window_arguments(const cpu::Windows& windows, const float* x, const float* y_grad,
                                   float* y, bool accumulate) {
  return {windows, windows.rows(), windows.columns(), x, y_grad, y, accumulate};
}
int64_t pixels(const cpu::Windows& w) { return w.batch * w.picture(); }
int64_t places(const cpu::Windows& w) { return w.batch * w.count() * w.channels; }

}  // namespace

void unfold(const Context& context, const cpu::Windows& windows, const float* x, float* y) {
  launch_threads(context, "quern_unfold", places(windows) * windows.kernel * windows.kernel,
                 window_arguments(windows, x, nullptr, y, false));
}

void unfold_backward(const Context& context, const cpu::Windows& windows, const float* y_grad,
                     float* x_grad, bool accumulate) {
  launch_threads(context, "quern_unfold_backward", pixels(windows),
                 window_arguments(windows, nullptr, y_grad, x_grad, accumulate));
}

void max_pool(const Context& context, const cpu::Windows& windows, bool relu, const float* x,
              float* y, uint8_t* chosen) {
  launch_threads(
      context, "quern_max_pool", places(windows),
      arguments::MaxPool{window_arguments(windows, x, nullptr, y, false), relu, nullptr, chosen});
}

void max_pool_backward(const Context& context, const cpu::Windows& windows, const uint8_t* chosen,
                       const float* y_grad, float* x_grad, bool accumulate) {
  launch_threads(context, "quern_max_pool_backward", pixels(windows),
                 arguments::MaxPool{window_arguments(windows, nullptr, y_grad, x_grad, accumulate),
                                    false, chosen, nullptr});
}

namespace {

/// A block a sequence, whatever their number: the kernels do not stride.
void launch_sequences(const Context& context, const char* kernel, const arguments::Pool& pool) {
  if (pool.pool.batch == 0) return;
  launch(context, kernel, {.blocks_x = static_cast<uint32_t>(pool.pool.batch)}, pool);
}

}  // namespace

void pool(const Context& context, const cpu::Pool& pool, const float* x, const float* scores,
          float* y) {
  launch_sequences(context, "quern_pool", {pool, x, scores, nullptr, y, nullptr, false, false});
}

void pool_backward(const Context& context, const cpu::Pool& pool, const float* x,
                   const float* scores, const float* y_grad, float* x_grad, bool accumulate_x,
                   float* scores_grad, bool accumulate_scores) {
  launch_sequences(context, "quern_pool_backward",
                   {pool, x, scores, y_grad, x_grad, scores_grad, accumulate_x, accumulate_scores});
}

#define QUERN_INSTANTIATE(T)                                                                  \
  template void gather_rows(const Context&, const cpu::Gather&, Read<T>, Written<T>);         \
  template void gather_rows_backward(const Context&, const cpu::Gather&, Read<T>, Written<T>, \
                                     bool);                                                   \
  template void cache_write(const Context&, const cpu::CacheWriteOf<T>&);
QUERN_INSTANTIATE(float)
QUERN_INSTANTIATE(BFloat16)
#undef QUERN_INSTANTIATE

}  // namespace quern::kernels::cuda
