#include <algorithm>
#include <limits>

#include "quern/kernels/cpu/parallel.h"
#include "quern/kernels/cpu/window.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quern/kernels/cpu/max_pool.cc"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include "quern/kernels/cpu/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quern::kernels::cpu {
namespace HWY_NAMESPACE {
namespace {

using Ints = hn::Rebind<int32_t, Floats>;
using Bytes = hn::Rebind<uint8_t, Floats>;
using IntVec = hn::Vec<Ints>;

HWY_INLINE void store_places(Whole, IntVec v, uint8_t* to) {
  hn::StoreU(hn::DemoteTo(Bytes(), v), Bytes(), to);
}
HWY_INLINE void store_places(Part part, IntVec v, uint8_t* to) {
  HWY_ALIGN uint8_t lanes[hn::MaxLanes(Bytes())];
  hn::Store(hn::DemoteTo(Bytes(), v), Bytes(), lanes);
  std::copy(lanes, lanes + part.count, to);
}
HWY_INLINE IntVec load_places(Whole, const uint8_t* from) {
  return hn::PromoteTo(Ints(), hn::LoadU(Bytes(), from));
}
HWY_INLINE IntVec load_places(Part part, const uint8_t* from) {
  HWY_ALIGN uint8_t lanes[hn::MaxLanes(Bytes())] = {};
  std::copy(from, from + part.count, lanes);
  return hn::PromoteTo(Ints(), hn::Load(Bytes(), lanes));
}

/// Window (row, column) of one picture.
HWY_INLINE void pool_window(const Windows& w, bool relu, const float* picture, int64_t row,
                            int64_t column, float* y, uint8_t* chosen) {
  const int64_t top = row * w.stride - w.padding;
  const int64_t left = column * w.stride - w.padding;
  const int64_t y0 = std::max<int64_t>(top, 0), y1 = std::min(top + w.kernel, w.height);
  const int64_t x0 = std::max<int64_t>(left, 0), x1 = std::min(left + w.kernel, w.width);
  const auto none = static_cast<int32_t>(w.kernel * w.kernel);
  const Ints di;
  for_vectors(0, w.channels, [&](auto part, int64_t c) HWY_ATTR {
    FloatVec best = set(relu ? 0.0F : -std::numeric_limits<float>::infinity());
    IntVec place = hn::Set(di, relu ? none : 0);
    for (int64_t v = y0; v < y1; ++v) {
      for (int64_t u = x0; u < x1; ++u) {
        const FloatVec pixel = part.load(picture + (v * w.width + u) * w.channels + c);
        // A NaN is taken, so that it shows.
        const auto takes = hn::Or(hn::Gt(pixel, best), hn::IsNaN(pixel));
        best = hn::IfThenElse(takes, pixel, best);
        const IntVec here = hn::Set(di, static_cast<int32_t>((v - top) * w.kernel + (u - left)));
        place = hn::IfThenElse(hn::RebindMask(di, takes), here, place);
      }
    }
    part.store(best, y + c);
    if (chosen != nullptr) store_places(part, place, chosen + c);
  });
}

void pool_windows(const Context& context, const Windows& w, bool relu, const float* x, float* y,
                  uint8_t* chosen) {
  const int64_t rows = w.rows();
  const int64_t columns = w.columns();
  for_chunks(context, w.batch * rows, rows_per_task(columns * w.pixels()),
             [&](int64_t begin, int64_t end) HWY_ATTR {
               for (int64_t i = begin; i < end; ++i) {
                 for (int64_t column = 0; column < columns; ++column) {
                   const int64_t at = (i * columns + column) * w.channels;
                   pool_window(w, relu, x + i / rows * w.picture(), i % rows, column, y + at,
                               chosen == nullptr ? nullptr : chosen + at);
                 }
               }
             });
}

/// Windows along one axis that see a pixel: first .. last.
struct Seen {
  int64_t first, last;
};
HWY_INLINE Seen seen_by(const Windows& w, int64_t at, int64_t count) {
  return {std::max<int64_t>(0, (at + w.padding - w.kernel + w.stride) / w.stride),
          std::min(count - 1, (at + w.padding) / w.stride)};
}

/// Each pixel takes the gradients of the windows that chose it: every place is written once.
void spread_windows(const Context& context, const Windows& w, const uint8_t* chosen,
                    const float* y_grad, float* x_grad, bool accumulate) {
  const int64_t rows = w.rows();
  const int64_t columns = w.columns();
  const auto pixel = [&](int64_t b, int64_t y, int64_t x, float* to) HWY_ATTR {
    const Seen down = seen_by(w, y, rows);
    const Seen across = seen_by(w, x, columns);
    for_vectors(0, w.channels, [&](auto part, int64_t c) HWY_ATTR {
      FloatVec sum = accumulate ? part.load(to + c) : set(0);
      for (int64_t row = down.first; row <= down.last; ++row) {
        for (int64_t column = across.first; column <= across.last; ++column) {
          const int64_t place =
              (y - (row * w.stride - w.padding)) * w.kernel + (x - (column * w.stride - w.padding));
          const int64_t at = ((b * rows + row) * columns + column) * w.channels + c;
          const auto here =
              hn::Eq(load_places(part, chosen + at), hn::Set(Ints(), static_cast<int32_t>(place)));
          sum = hn::Add(sum,
                        hn::IfThenElseZero(hn::RebindMask(Floats(), here), part.load(y_grad + at)));
        }
      }
      part.store(sum, to + c);
    });
  };
  for_chunks(context, w.batch * w.height, rows_per_task(4 * w.width * w.channels),
             [&](int64_t begin, int64_t end) HWY_ATTR {
               for (int64_t i = begin; i < end; ++i) {
                 for (int64_t x = 0; x < w.width; ++x)
                   pixel(i / w.height, i % w.height, x, x_grad + (i * w.width + x) * w.channels);
               }
             });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace quern::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quern::kernels::cpu {

HWY_EXPORT(pool_windows);
HWY_EXPORT(spread_windows);

void max_pool(const Context& context, const Windows& windows, bool relu, const float* x, float* y,
              uint8_t* chosen) {
  HWY_DYNAMIC_DISPATCH(pool_windows)(context, windows, relu, x, y, chosen);
}

void max_pool_backward(const Context& context, const Windows& windows, const uint8_t* chosen,
                       const float* y_grad, float* x_grad, bool accumulate) {
  HWY_DYNAMIC_DISPATCH(spread_windows)(context, windows, chosen, y_grad, x_grad, accumulate);
}

}  // namespace quern::kernels::cpu
#endif
