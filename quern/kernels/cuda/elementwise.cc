#include "quern/kernels/cuda/kernels.h"
#include "quern/kernels/cuda/launch.h"

namespace quern::kernels::cuda {

void activation_forward(const Context& context, Activation activation, const float* x,
                        int64_t count, float* y) {
  launch_threads(context, "quern_activation_forward", count,
                 arguments::Activation{activation, x, nullptr, count, 0, y, false});
}

void activation_backward(const Context& context, Activation activation, const float* x,
                         const float* y_grad, int64_t count, float* x_grad, bool accumulate) {
  launch_threads(context, "quern_activation_backward", count,
                 arguments::Activation{activation, x, y_grad, count, 0, x_grad, accumulate});
}

void gated_unit_forward(const Context& context, Activation activation, const float* x, int64_t rows,
                        int64_t width, float* y) {
  launch_threads(context, "quern_gated_unit_forward", rows * width,
                 arguments::Activation{activation, x, nullptr, rows * width, width, y, false});
}

void gated_unit_backward(const Context& context, Activation activation, const float* x,
                         const float* y_grad, int64_t rows, int64_t width, float* x_grad,
                         bool accumulate) {
  launch_threads(
      context, "quern_gated_unit_backward", rows * width,
      arguments::Activation{activation, x, y_grad, rows * width, width, x_grad, accumulate});
}

void add(const Context& context, const float* a, const float* b, int64_t count, int64_t period,
         float scale, float* c) {
  launch_threads(context, "quern_add", count,
                 arguments::Binary{a, b, count, period, scale, c, false});
}

void multiply(const Context& context, const float* a, const float* b, int64_t count, int64_t period,
              float* c) {
  multiply_into(context, a, b, count, period, c, false);
}

void multiply_into(const Context& context, const float* a, const float* b, int64_t count,
                   int64_t period, float* c, bool accumulate) {
  launch_threads(context, "quern_multiply", count,
                 arguments::Binary{a, b, count, period, 1, c, accumulate});
}

void scale(const Context& context, const float* x, int64_t count, float factor, float* y,
           bool accumulate) {
  launch_threads(context, "quern_scale", count, arguments::Scale{x, count, factor, y, accumulate});
}

void dropout(const Context& context, const cpu::Dropout& dropout, const float* x,
             const float* residual, float* y, bool accumulate) {
  const auto threshold = static_cast<uint32_t>(static_cast<double>(dropout.rate) * 0x1p32);
  const int64_t draws = parts_of(dropout.sample_size, 64) * 16;
  launch_threads(context, "quern_dropout", draws * dropout.samples,
                 arguments::Dropout{dropout, threshold, x, residual, y, accumulate});
}

void rope(const Context& context, const cpu::Rope& rope, const float* x, float* y,
          bool accumulate) {
  const int64_t heads = rope.heads + 2 * rope.kv_heads;
  launch_threads(context, "quern_rope", rope.batch * rope.rows * heads * rope.head_dim / 2,
                 arguments::Rope{rope, x, y, accumulate});
}

}  // namespace quern::kernels::cuda
