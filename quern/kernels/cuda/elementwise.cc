#include "quern/kernels/cuda/kernels.h"
#include "quern/kernels/cuda/launch.h"

namespace quern::kernels::cuda {

template <typename T>
void activation_forward(const Context& context, Activation activation, const T* x, int64_t count,
                        T* y) {
  launch_threads(context, name_of<T>("quern_activation_forward", "quern_activation_forward_bf16"),
                 count, arguments::Activation<T>{activation, x, nullptr, count, 0, y, false});
}

template <typename T>
void activation_backward(const Context& context, Activation activation, const T* x, const T* y_grad,
                         int64_t count, T* x_grad, bool accumulate) {
  launch_threads(context, name_of<T>("quern_activation_backward", "quern_activation_backward_bf16"),
                 count,
                 arguments::Activation<T>{activation, x, y_grad, count, 0, x_grad, accumulate});
}

template <typename T>
void gated_unit_forward(const Context& context, Activation activation, const T* x, int64_t rows,
                        int64_t width, T* y) {
  launch_threads(context, name_of<T>("quern_gated_unit_forward", "quern_gated_unit_forward_bf16"),
                 rows * width,
                 arguments::Activation<T>{activation, x, nullptr, rows * width, width, y, false});
}

template <typename T>
void gated_unit_backward(const Context& context, Activation activation, const T* x, const T* y_grad,
                         int64_t rows, int64_t width, T* x_grad, bool accumulate) {
  launch_threads(
      context, name_of<T>("quern_gated_unit_backward", "quern_gated_unit_backward_bf16"),
      rows * width,
      arguments::Activation<T>{activation, x, y_grad, rows * width, width, x_grad, accumulate});
}

template <typename T>
void add(const Context& context, const T* a, const T* b, int64_t count, int64_t period, float scale,
         T* c) {
  launch_threads(context, name_of<T>("quern_add", "quern_add_bf16"), count,
                 arguments::Binary<T>{a, b, count, period, scale, c, false});
}

void multiply(const Context& context, const float* a, const float* b, int64_t count, int64_t period,
              float* c) {
  multiply_into(context, a, b, count, period, c, false);
}

void multiply_into(const Context& context, const float* a, const float* b, int64_t count,
                   int64_t period, float* c, bool accumulate) {
  launch_threads(context, "quern_multiply", count,
                 arguments::Binary<float>{a, b, count, period, 1, c, accumulate});
}

template <typename T>
void scale(const Context& context, const T* x, int64_t count, float factor, T* y, bool accumulate) {
  launch_threads(context, name_of<T>("quern_scale", "quern_scale_bf16"), count,
                 arguments::Scale<T>{x, count, factor, y, accumulate});
}

template <typename T>
void dropout(const Context& context, const cpu::Dropout& dropout, const T* x,
             const std::type_identity_t<T>* residual, T* y, bool accumulate) {
  const auto threshold = static_cast<uint32_t>(static_cast<double>(dropout.rate) * 0x1p32);
  const int64_t draws = parts_of(dropout.sample_size, 64) * 16;
  launch_threads(context, name_of<T>("quern_dropout", "quern_dropout_bf16"),
                 draws * dropout.samples,
                 arguments::Dropout<T>{dropout, threshold, x, residual, y, accumulate});
}

template <typename T>
void rope(const Context& context, const cpu::Rope& rope, const T* x, T* y, bool accumulate) {
  const int64_t heads = rope.heads + 2 * rope.kv_heads;
  launch_threads(context, name_of<T>("quern_rope", "quern_rope_bf16"),
                 rope.batch * rope.rows * heads * rope.head_dim / 2,
                 arguments::Rope<T>{rope, x, y, accumulate});
}

#define QUERN_INSTANTIATE(T)                                                                      \
  template void activation_forward(const Context&, Activation, Read<T>, int64_t, Written<T>);     \
  template void activation_backward(const Context&, Activation, Read<T>, Read<T>, int64_t,        \
                                    Written<T>, bool);                                            \
  template void gated_unit_forward(const Context&, Activation, Read<T>, int64_t, int64_t,         \
                                   Written<T>);                                                   \
  template void gated_unit_backward(const Context&, Activation, Read<T>, Read<T>, int64_t,        \
                                    int64_t, Written<T>, bool);                                   \
  template void add(const Context&, Read<T>, Read<T>, int64_t, int64_t, float, Written<T>);       \
  template void scale(const Context&, Read<T>, int64_t, float, Written<T>, bool);                 \
  template void dropout(const Context&, const cpu::Dropout&, Read<T>, Read<T>, Written<T>, bool); \
  template void rope(const Context&, const cpu::Rope&, Read<T>, Written<T>, bool);
QUERN_INSTANTIATE(float)
QUERN_INSTANTIATE(BFloat16)
#undef QUERN_INSTANTIATE

}  // namespace quern::kernels::cuda
