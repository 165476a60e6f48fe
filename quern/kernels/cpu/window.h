#pragma once

#include <cstddef>
#include <cstdint>

#include "quern/kernels/cpu/context.h"

// Windows over pictures (batch, height, width, channels), for convolutional stems and patches; and
// pooling of sequences by learned scores.
namespace quern::kernels::cpu {

/// Square windows of `kernel` pixels, every `stride`, over a picture with `padding` empty pixels
/// around it.
struct Windows {
  int64_t batch = 0, height = 0, width = 0, channels = 0;
  int64_t kernel = 1, stride = 1, padding = 0;

  int64_t rows() const { return (height + 2 * padding - kernel) / stride + 1; }
  int64_t columns() const { return (width + 2 * padding - kernel) / stride + 1; }
  int64_t count() const { return rows() * columns(); }  // of a picture
  int64_t picture() const { return height * width * channels; }
  int64_t pixels() const { return kernel * kernel * channels; }  // of a window
};

/// y (batch, rows, columns, kernel · kernel · channels): each window's pixels in a line; 0 outside
/// the picture. A linear layer over it is a convolution.
void unfold(const Context& context, const Windows& windows, const float* x, float* y);
void unfold_backward(const Context& context, const Windows& windows, const float* y_grad,
                     float* x_grad, bool accumulate);

/// y (batch, rows, columns, outputs) = each window · weight (outputs, kernel · kernel · channels)ᵀ.
/// Windows are laid out a dozen at a time, in the cache, and multiplied there.
size_t convolve_scratch(const Windows& windows, int64_t outputs);
void convolve(const Context& context, const Windows& windows, int64_t outputs, const float* x,
              const float* weight, float* y, std::byte* scratch);
/// The gradient of x, for stride 1: the convolution of y_grad with the weights turned about.
size_t convolve_backward_scratch(const Windows& windows, int64_t outputs);
void convolve_backward(const Context& context, const Windows& windows, int64_t outputs,
                       const float* weight, const float* y_grad, float* x_grad, bool accumulate,
                       std::byte* scratch);
/// The gradient of the weight: partial sums over strips of windows meet in a fixed tree.
size_t convolve_weight_scratch(const Windows& windows, int64_t outputs);
void convolve_weight_backward(const Context& context, const Windows& windows, int64_t outputs,
                              const float* x, const float* y_grad, float* weight_grad,
                              bool accumulate, std::byte* scratch);

/// y (batch, rows, columns, channels): the largest of each window and channel; what is outside the
/// picture does not count, with `relu` nothing below 0. `chosen` (the same extents; may be null)
/// says which pixel of the window it is, the first of equal ones; kernel · kernel: none, the 0.
void max_pool(const Context& context, const Windows& windows, bool relu, const float* x, float* y,
              uint8_t* chosen);
void max_pool_backward(const Context& context, const Windows& windows, const uint8_t* chosen,
                       const float* y_grad, float* x_grad, bool accumulate);

/// y (batch, width) = Σ_t softmax(scores)_t · x_t over the first lengths[b] positions (null: all)
/// of x (batch, length, width); an empty sequence gives 0 (Hassani et al. 2021, "Escaping the Big
/// Data Paradigm", section 3.2).
struct Pool {
  int64_t batch = 0, length = 0, width = 0;
  const int32_t* lengths = nullptr;  // (batch) or null
};
void pool(const Context& context, const Pool& pool, const float* x, const float* scores, float* y);
/// x_grad (batch, length, width) and scores_grad (batch, length); either may be null.
void pool_backward(const Context& context, const Pool& pool, const float* x, const float* scores,
                   const float* y_grad, float* x_grad, bool accumulate_x, float* scores_grad,
                   bool accumulate_scores);

}  // namespace quern::kernels::cpu
