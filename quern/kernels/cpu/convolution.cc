#include <algorithm>
#include <vector>

#include "quern/kernels/cpu/gemm_plan.h"
#include "quern/kernels/cpu/parallel.h"
#include "quern/kernels/cpu/window.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quern/kernels/cpu/convolution.cc"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include "quern/kernels/cpu/gemm_pack-inl.h"
#include "quern/kernels/cpu/microkernel-inl.h"

// The strips that the work is cut into; the shape alone decides.
#ifndef QUERN_KERNELS_CPU_CONVOLUTION_STRIPS
#define QUERN_KERNELS_CPU_CONVOLUTION_STRIPS
namespace quern::kernels::cpu {
namespace {

constexpr double kStripFlops = 1e6;       // worth handing to a thread
constexpr int64_t kMostPartials = 16;     // strips whose weight gradients are kept apart
constexpr int64_t kUnfolded = 32 * 1024;  // floats of windows laid out at a time: half a cache

double flops_of(const Windows& w, int64_t outputs) {
  return 2.0 * static_cast<double>(w.batch * w.count()) * static_cast<double>(w.pixels()) *
         static_cast<double>(outputs);
}
int64_t strips(const Windows& w, int64_t outputs, int64_t most) {
  const auto wanted = static_cast<int64_t>(flops_of(w, outputs) / kStripFlops);
  return std::clamp<int64_t>(wanted, 1, std::min(most, w.batch * w.count()));
}
/// Windows laid out at a time for the weight's gradient.
int64_t block_windows(const Windows& w) {
  return std::clamp<int64_t>(kUnfolded / w.pixels(), 16, 256);
}
/// Floats of a row of laid-out windows: whole vectors of any instruction set.
int64_t padded(int64_t floats) { return divide_up(floats, GemmPlan::kPanel) * GemmPlan::kPanel; }

/// The convolution whose result is the gradient of x: of stride 1, over the gradient of y.
Windows turned(const Windows& w, int64_t outputs) {
  return {.batch = w.batch,
          .height = w.rows(),
          .width = w.columns(),
          .channels = outputs,
          .kernel = w.kernel,
          .stride = 1,
          .padding = w.kernel - 1 - w.padding};
}

}  // namespace
}  // namespace quern::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace quern::kernels::cpu {
namespace HWY_NAMESPACE {
namespace {

HWY_INLINE void copy_floats(const float* from, int64_t count, float* to) {
  const F32 d;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) hn::StoreU(hn::LoadU(d, from + i), d, to + i);
  if (i < count) store_first(load_first(from + i, count - i), to + i, count - i);
}

/// Walks over the windows of all pictures in order, without a division for each.
class Cursor {
 public:
  Cursor(const Windows& w, const float* x, int64_t index)
      : w_(w), rows_(w.rows()), columns_(w.columns()) {
    picture_ = x + index / (rows_ * columns_) * w.picture();
    row_ = index / columns_ % rows_;
    column_ = index % columns_;
  }

  /// This window's pixels in a line; goes on to the next.
  HWY_INLINE void lay_out(float* to) {
    const int64_t top = row_ * w_.stride - w_.padding;
    const int64_t left = column_ * w_.stride - w_.padding;
    const int64_t line = w_.kernel * w_.channels;
    const int64_t begin = std::clamp<int64_t>(-left, 0, w_.kernel) * w_.channels;
    const int64_t end = std::clamp<int64_t>(w_.width - left, 0, w_.kernel) * w_.channels;
    for (int64_t y = top; y < top + w_.kernel; ++y, to += line) {
      if (y < 0 || y >= w_.height || begin >= end) {
        std::fill(to, to + line, 0.0F);
        continue;
      }
      const float* from = picture_ + (y * w_.width + left) * w_.channels;
      if (begin > 0) std::fill(to, to + begin, 0.0F);
      copy_floats(from + begin, end - begin, to + begin);
      if (end < line) std::fill(to + end, to + line, 0.0F);
    }
    if (++column_ < columns_) return;
    column_ = 0;
    if (++row_ < rows_) return;
    row_ = 0;
    picture_ += w_.picture();
  }

 private:
  const Windows& w_;
  int64_t rows_, columns_;
  const float* picture_;
  int64_t row_, column_;
};

void unfold_windows(const Context& context, const Windows& w, const float* x, float* y) {
  const int64_t size = w.pixels();
  for_chunks(context, w.batch * w.count(), rows_per_task(size),
             [&](int64_t begin, int64_t end) HWY_ATTR {
               Cursor cursor(w, x, begin);
               for (int64_t i = begin; i < end; ++i) cursor.lay_out(y + i * size);
             });
}

void convolve_windows(const Context& context, const Windows& w, int64_t outputs, const float* x,
                      const float* weight, float* y, bool accumulate, float* packed) {
  const int64_t k = w.pixels();
  const int64_t panels = divide_up(outputs, kTileColumns);
  context.pool.parallel_for(static_cast<size_t>(panels), [&](size_t panel, int) HWY_ATTR {
    const int64_t j = static_cast<int64_t>(panel) * kTileColumns;
    pack_rows(weight + j * k, k, std::min(kTileColumns, outputs - j), k, kTileColumns,
              packed + j * k);
  });
  const int64_t total = w.batch * w.count();
  const int64_t count = strips(w, outputs, total);
  context.pool.parallel_for(static_cast<size_t>(count), [&](size_t strip, int) HWY_ATTR {
    const int64_t begin = total * static_cast<int64_t>(strip) / count;
    const int64_t end = total * (static_cast<int64_t>(strip) + 1) / count;
    thread_local std::vector<float> lines;
    lines.resize(static_cast<size_t>(kTileRows * k));
    Tile tile;
    tile.k = tile.lda = k;
    tile.ldb = kTileColumns;
    tile.ldc = tile.ld_from = outputs;
    Cursor cursor(w, x, begin);
    for (int64_t i = begin; i < end; i += kTileRows) {
      const int64_t rows = std::min(kTileRows, end - i);
      for (int64_t r = 0; r < rows; ++r) cursor.lay_out(lines.data() + r * k);
      tile.a = lines.data();
      for (int64_t j = 0; j < outputs; j += kTileColumns) {
        tile.b = packed + j * k;
        tile.c = y + i * outputs + j;
        tile.from = accumulate ? tile.c : nullptr;
        multiply<false>(tile, rows, std::min(kTileColumns, outputs - j));
      }
    }
  });
}

/// A strip's share of the weight's gradient (outputs, pixels).
HWY_INLINE void multiply_strip(const Windows& w, int64_t outputs, const float* x,
                               const float* y_grad, int64_t begin, int64_t end, float* to) {
  const int64_t k = w.pixels();
  const int64_t block = block_windows(w);
  thread_local std::vector<float> lines;
  lines.resize(static_cast<size_t>(block * padded(k)));
  Tile tile;
  tile.lda = outputs;
  tile.ldb = padded(k);
  tile.ldc = tile.ld_from = k;
  Cursor cursor(w, x, begin);
  for (int64_t i = begin; i < end; i += block) {
    tile.k = std::min(block, end - i);
    for (int64_t r = 0; r < tile.k; ++r) cursor.lay_out(lines.data() + r * tile.ldb);
    for (int64_t j = 0; j < k; j += kTileColumns) {
      tile.b = lines.data() + j;
      for (int64_t n = 0; n < outputs; n += kTileRows) {
        tile.a = y_grad + i * outputs + n;
        tile.c = to + n * k + j;
        tile.from = i == begin ? nullptr : tile.c;
        multiply<true>(tile, std::min(kTileRows, outputs - n), std::min(kTileColumns, k - j));
      }
    }
  }
}

/// to += from; a pairwise tree over the strips lies above it.
HWY_INLINE void add_range(const float* from, int64_t begin, int64_t end, float* to) {
  const F32 d;
  for (int64_t i = begin; i < end; i += kLanes) {
    const int64_t count = end - i;
    if (count >= kLanes) {
      hn::StoreU(hn::Add(hn::LoadU(d, to + i), hn::LoadU(d, from + i)), d, to + i);
    } else {
      store_first(hn::Add(load_first(to + i, count), load_first(from + i, count)), to + i, count);
    }
  }
}

void sum_weight_gradient(const Context& context, const Windows& w, int64_t outputs, const float* x,
                         const float* y_grad, float* weight_grad, bool accumulate,
                         float* partials) {
  const int64_t total = w.batch * w.count();
  const int64_t size = outputs * w.pixels();
  const int64_t count = strips(w, outputs, kMostPartials);
  context.pool.parallel_for(static_cast<size_t>(count), [&](size_t strip, int) HWY_ATTR {
    const auto at = static_cast<int64_t>(strip);
    multiply_strip(w, outputs, x, y_grad, total * at / count, total * (at + 1) / count,
                   partials + at * size);
  });
  for_chunks(context, size, kTaskElements, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t step = 1; step < count; step *= 2) {
      for (int64_t at = 0; at + step < count; at += 2 * step)
        add_range(partials + (at + step) * size, begin, end, partials + at * size);
    }
    if (accumulate) {
      add_range(partials, begin, end, weight_grad);
    } else {
      copy_floats(partials + begin, end - begin, weight_grad + begin);
    }
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace quern::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quern::kernels::cpu {
namespace {

HWY_EXPORT(unfold_windows);
HWY_EXPORT(convolve_windows);
HWY_EXPORT(sum_weight_gradient);

int64_t packed_floats(const Windows& w, int64_t outputs) { return padded(outputs) * w.pixels(); }
size_t bytes_of(int64_t floats) { return sizeof(float) * static_cast<size_t>(floats); }

/// weight (outputs, kernel, kernel, channels) to (channels, kernel, kernel, outputs), both kernel
/// axes reversed.
void turn_weight(const Windows& w, int64_t outputs, const float* weight, float* to) {
  const int64_t places = w.kernel * w.kernel;
  for (int64_t c = 0; c < w.channels; ++c) {
    for (int64_t place = places - 1; place >= 0; --place) {
      for (int64_t n = 0; n < outputs; ++n) *to++ = weight[(n * places + place) * w.channels + c];
    }
  }
}

}  // namespace

void unfold(const Context& context, const Windows& windows, const float* x, float* y) {
  HWY_DYNAMIC_DISPATCH(unfold_windows)(context, windows, x, y);
}

size_t convolve_scratch(const Windows& windows, int64_t outputs) {
  return bytes_of(packed_floats(windows, outputs));
}

void convolve(const Context& context, const Windows& windows, int64_t outputs, const float* x,
              const float* weight, float* y, std::byte* scratch) {
  HWY_DYNAMIC_DISPATCH(convolve_windows)
  (context, windows, outputs, x, weight, y, false, reinterpret_cast<float*>(scratch));
}

size_t convolve_backward_scratch(const Windows& windows, int64_t outputs) {
  return bytes_of(padded(outputs * windows.pixels()) +
                  packed_floats(turned(windows, outputs), windows.channels));
}

void convolve_backward(const Context& context, const Windows& windows, int64_t outputs,
                       const float* weight, const float* y_grad, float* x_grad, bool accumulate,
                       std::byte* scratch) {
  auto* about = reinterpret_cast<float*>(scratch);
  turn_weight(windows, outputs, weight, about);
  HWY_DYNAMIC_DISPATCH(convolve_windows)
  (context, turned(windows, outputs), windows.channels, y_grad, about, x_grad, accumulate,
   about + padded(outputs * windows.pixels()));
}

size_t convolve_weight_scratch(const Windows& windows, int64_t outputs) {
  return bytes_of(strips(windows, outputs, kMostPartials) * outputs * windows.pixels());
}

void convolve_weight_backward(const Context& context, const Windows& windows, int64_t outputs,
                              const float* x, const float* y_grad, float* weight_grad,
                              bool accumulate, std::byte* scratch) {
  HWY_DYNAMIC_DISPATCH(sum_weight_gradient)
  (context, windows, outputs, x, y_grad, weight_grad, accumulate,
   reinterpret_cast<float*>(scratch));
}

}  // namespace quern::kernels::cpu
#endif
