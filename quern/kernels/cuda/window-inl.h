// Windows over pictures, and pooling by learned scores. Backward gathers: a thread an element of
// the gradient, which asks each window that holds it, so nothing is raced for.

#include "quern/kernels/cuda/arguments.h"
#include "quern/kernels/cuda/simt.h"

namespace quern::kernels::cuda {

QUERN_KERNEL(quern_unfold, arguments::Window) {
  const cpu::Windows& w = a.windows;
  const int64_t line = w.kernel * w.kernel * w.channels;
  const int64_t count = w.batch * a.rows * a.columns * line;
  for (int64_t i = grid_thread(); i < count; i += grid_threads()) {
    const int64_t c = i % w.channels;
    const int64_t k = i / w.channels % (w.kernel * w.kernel);
    const int64_t window = i / line;
    const int64_t y = window / a.columns % a.rows * w.stride - w.padding + k / w.kernel;
    const int64_t x = window % a.columns * w.stride - w.padding + k % w.kernel;
    const int64_t b = window / (a.rows * a.columns);
    const bool inside = y >= 0 && y < w.height && x >= 0 && x < w.width;
    a.y[i] = inside ? a.x[((b * w.height + y) * w.width + x) * w.channels + c] : 0;
  }
}

/// The windows along one axis that hold place `at`: first (inclusive) to end.
struct Holders {
  int64_t first, end;
};
QUERN_DEVICE Holders holders(int64_t at, const cpu::Windows& w, int64_t windows) {
  const int64_t padded = at + w.padding;
  const int64_t first = padded < w.kernel ? 0 : (padded - w.kernel) / w.stride + 1;
  return {first, smaller(windows, padded / w.stride + 1)};
}

/// The place of element i of a picture.
struct Pixel {
  int64_t b, y, x, c;
};
QUERN_DEVICE Pixel pixel_of(int64_t i, const cpu::Windows& w) {
  const int64_t column = i / w.channels;
  return {column / (w.width * w.height), column / w.width % w.height, column % w.width,
          i % w.channels};
}

/// Each element of x gets the sum, over the windows that hold it, of part(window, place, channel):
/// the number of the window among all, and where in it the element lies.
template <typename Part>
QUERN_DEVICE void gather_windows(const arguments::Window& a, const Part& part) {
  const cpu::Windows& w = a.windows;
  const int64_t count = w.batch * w.height * w.width * w.channels;
  for (int64_t i = grid_thread(); i < count; i += grid_threads()) {
    const Pixel p = pixel_of(i, w);
    const Holders rows = holders(p.y, w, a.rows);
    const Holders columns = holders(p.x, w, a.columns);
    float sum = 0;
    for (int64_t r = rows.first; r < rows.end; ++r) {
      for (int64_t s = columns.first; s < columns.end; ++s) {
        const int64_t ky = p.y + w.padding - r * w.stride;
        const int64_t kx = p.x + w.padding - s * w.stride;
        sum += part((p.b * a.rows + r) * a.columns + s, ky * w.kernel + kx, p.c);
      }
    }
    store(a.y + i, sum, a.accumulate);
  }
}

QUERN_KERNEL(quern_unfold_backward, arguments::Window) {
  const cpu::Windows& w = a.windows;
  gather_windows(a, [&](int64_t window, int64_t place, int64_t c) {
    return a.y_grad[(window * w.kernel * w.kernel + place) * w.channels + c];
  });
}

QUERN_KERNEL(quern_max_pool, arguments::MaxPool) {
  const arguments::Window& given = a.window;
  const cpu::Windows& w = given.windows;
  const int64_t count = w.batch * given.rows * given.columns * w.channels;
  const int64_t none = w.kernel * w.kernel;
  for (int64_t i = grid_thread(); i < count; i += grid_threads()) {
    const int64_t window = i / w.channels;
    const int64_t top = window / given.columns % given.rows * w.stride - w.padding;
    const int64_t left = window % given.columns * w.stride - w.padding;
    const int64_t b = window / (given.rows * given.columns);
    float best = a.relu ? 0 : -INFINITY;
    int64_t chosen = a.relu ? none : 0;
    for (int64_t k = 0; k < none; ++k) {
      const int64_t y = top + k / w.kernel;
      const int64_t x = left + k % w.kernel;
      if (y < 0 || y >= w.height || x < 0 || x >= w.width) continue;
      const float pixel = given.x[((b * w.height + y) * w.width + x) * w.channels + i % w.channels];
      // A NaN is taken, so that it shows.
      if (!(pixel > best) && pixel == pixel) continue;
      best = pixel;
      chosen = k;
    }
    given.y[i] = best;
    if (a.chooses != nullptr) a.chooses[i] = static_cast<uint8_t>(chosen);
  }
}

QUERN_KERNEL(quern_max_pool_backward, arguments::MaxPool) {
  gather_windows(a.window, [&](int64_t window, int64_t place, int64_t c) {
    const int64_t at = window * a.window.windows.channels + c;
    return a.chosen[at] == place ? a.window.y_grad[at] : 0.0F;
  });
}

/// A block a sequence.
QUERN_COOPERATIVE_KERNEL(quern_pool, arguments::Pool) {
  QUERN_SHARED float parts[kWarp];
  const cpu::Pool& p = a.pool;
  const int64_t b = block_x();
  const int64_t valid = valid_length(p.lengths, b, p.length);
  const float* scores = a.scores + b * p.length;
  const RowTotal total = row_total(scores, valid, parts);
  for (int64_t j = thread_index(); j < p.width; j += thread_count()) {
    float sum = 0;
    for (int64_t t = 0; t < valid; ++t)
      sum += expf(scores[t] - total.most) / total.sum * a.x[(b * p.length + t) * p.width + j];
    a.y[b * p.width + j] = sum;
  }
}

/// A block a sequence: the slope of each share, and then, since the shares sum to one, what each
/// slope has above their mean.
QUERN_COOPERATIVE_KERNEL(quern_pool_backward, arguments::Pool) {
  QUERN_SHARED float parts[kWarp];
  const cpu::Pool& p = a.pool;
  const int64_t b = block_x();
  const int64_t valid = valid_length(p.lengths, b, p.length);
  const float* scores = a.scores + b * p.length;
  const float* y_grad = a.y_grad + b * p.width;
  const RowTotal total = row_total(scores, valid, parts);
  float mean = 0;
  for (int64_t t = 0; t < valid && a.scores_grad != nullptr; ++t) {
    float slope = 0;
    for (int64_t j = thread_index(); j < p.width; j += thread_count())
      slope += y_grad[j] * a.x[(b * p.length + t) * p.width + j];
    mean += block_sum(slope, parts) * expf(scores[t] - total.most) / total.sum;
  }
  for (int64_t t = 0; t < p.length; ++t) {
    const float share = t < valid ? expf(scores[t] - total.most) / total.sum : 0;
    float slope = 0;
    for (int64_t j = thread_index(); j < p.width; j += thread_count()) {
      const int64_t at = (b * p.length + t) * p.width + j;
      slope += y_grad[j] * a.x[at];
      if (a.y != nullptr) store(a.y + at, share * y_grad[j], a.accumulate);
    }
    if (a.scores_grad == nullptr) continue;
    slope = block_sum(slope, parts);
    if (thread_index() == 0) {
      store(a.scores_grad + b * p.length + t, share * (slope - mean), a.accumulate_scores);
    }
  }
}

}  // namespace quern::kernels::cuda
