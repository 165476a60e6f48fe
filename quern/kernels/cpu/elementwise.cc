#include "quern/kernels/cpu/elementwise.h"

#include <array>

#include "quern/kernels/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quern/kernels/cpu/elementwise.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "quern/kernels/cpu/activation-inl.h"
#include "quern/kernels/cpu/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quern::kernels::cpu {
namespace HWY_NAMESPACE {
namespace {

template <class P>
HWY_INLINE void put(P part, FloatVec value, float* y, bool accumulate) {
  part.store(accumulate ? hn::Add(part.load(y), value) : value, y);
}

void ActivationForward(Activation activation, const float* x, int64_t count, float* y) {
  with_activation(activation, [&]<Activation kActivation>() HWY_ATTR {
    for_vectors(0, count, [&](auto part, int64_t i) HWY_ATTR {
      part.store(activate<kActivation>(part.load(x + i)).value, y + i);
    });
  });
}

void ActivationBackward(Activation activation, const float* x, const float* y_grad, int64_t count,
                        float* x_grad, bool accumulate) {
  with_activation(activation, [&]<Activation kActivation>() HWY_ATTR {
    for_vectors(0, count, [&](auto part, int64_t i) HWY_ATTR {
      const FloatVec slope = activate<kActivation>(part.load(x + i)).slope;
      put(part, hn::Mul(slope, part.load(y_grad + i)), x_grad + i, accumulate);
    });
  });
}

void GatedUnitForward(Activation activation, const float* x, int64_t rows, int64_t width,
                      float* y) {
  with_activation(activation, [&]<Activation kActivation>() HWY_ATTR {
    for (int64_t row = 0; row < rows; ++row) {
      const float* gate = x + row * 2 * width;
      float* out = y + row * width;
      for_vectors(0, width, [&](auto part, int64_t i) HWY_ATTR {
        const FloatVec gated = activate<kActivation>(part.load(gate + i)).value;
        part.store(hn::Mul(gated, part.load(gate + width + i)), out + i);
      });
    }
  });
}

void GatedUnitBackward(Activation activation, const float* x, const float* y_grad, int64_t rows,
                       int64_t width, float* x_grad, bool accumulate) {
  with_activation(activation, [&]<Activation kActivation>() HWY_ATTR {
    for (int64_t row = 0; row < rows; ++row) {
      const float* gate = x + row * 2 * width;
      const float* grad = y_grad + row * width;
      float* gate_grad = x_grad + row * 2 * width;
      for_vectors(0, width, [&](auto part, int64_t i) HWY_ATTR {
        const Pair gated = activate<kActivation>(part.load(gate + i));
        const FloatVec value = part.load(gate + width + i);
        const FloatVec g = part.load(grad + i);
        put(part, hn::Mul(hn::Mul(g, value), gated.slope), gate_grad + i, accumulate);
        put(part, hn::Mul(g, gated.value), gate_grad + width + i, accumulate);
      });
    }
  });
}

/// c = f(a, b) over [begin, end), where b is repeated every `period`.
template <class F>
HWY_INLINE void broadcast(const float* a, const float* b, int64_t begin, int64_t end,
                          int64_t period, float* c, const F& f) {
  // A period shorter than a vector or two is laid out several times first.
  constexpr int64_t kShort = 64, kRepeated = 1024;
  HWY_ALIGN float repeated[kRepeated];
  if (period < kShort && end - begin > period) {
    const int64_t whole = kRepeated / period * period;
    for (int64_t i = 0; i < whole; ++i) repeated[i] = b[i % period];
    b = repeated;
    // Any multiple of the old period that is ≤ begin serves as origin of the new one.
    const int64_t origin = begin / period * period;
    a += origin;
    c += origin;
    begin -= origin;
    end -= origin;
    period = whole;
  }
  while (begin < end) {
    const int64_t start = begin / period * period;
    const int64_t stop = end < start + period ? end : start + period;
    for_vectors(begin, stop, [&](auto part, int64_t i) HWY_ATTR {
      part.store(f(part.load(a + i), part.load(b + (i - start))), c + i);
    });
    begin = stop;
  }
}

void Add(const float* a, const float* b, int64_t begin, int64_t end, int64_t period, float scale,
         float* c) {
  const FloatVec factor = set(scale);
  broadcast(a, b, begin, end, period, c,
            [factor](FloatVec u, FloatVec v) HWY_ATTR { return hn::MulAdd(v, factor, u); });
}

void Multiply(const float* a, const float* b, int64_t begin, int64_t end, int64_t period,
              float* c) {
  broadcast(a, b, begin, end, period, c,
            [](FloatVec u, FloatVec v) HWY_ATTR { return hn::Mul(u, v); });
}

void Scale(const float* x, int64_t count, float factor, float* y, bool accumulate) {
  for_vectors(0, count, [&](auto part, int64_t i) HWY_ATTR {
    put(part, hn::Mul(part.load(x + i), set(factor)), y + i, accumulate);
  });
}

void Rope(const cpu::Rope& rope, const float* x, int64_t begin, int64_t end, float* y,
          bool accumulate) {
  const int64_t half = rope.head_dim / 2;
  const int64_t turned = rope.heads + rope.kv_heads;
  const int64_t width = (turned + rope.kv_heads) * rope.head_dim;
  const FloatVec sign = set(rope.inverse ? -1.0F : 1.0F);
  for (int64_t row = begin; row < end; ++row) {
    const int64_t b = row / rope.rows;
    const int64_t position = (rope.offsets ? rope.offsets[b] : 0) + row % rope.rows;
    const float* cosine = rope.table + position * rope.head_dim;
    const float* sine = cosine + half;
    for (int64_t head = 0; head < turned; ++head) {
      const float* in = x + row * width + head * rope.head_dim;
      float* out = y + row * width + head * rope.head_dim;
      for_vectors(0, half, [&](auto part, int64_t i) HWY_ATTR {
        const FloatVec c = part.load(cosine + i), s = hn::Mul(sign, part.load(sine + i));
        const FloatVec u = part.load(in + i), v = part.load(in + half + i);
        put(part, hn::NegMulAdd(v, s, hn::Mul(u, c)), out + i, accumulate);
        put(part, hn::MulAdd(u, s, hn::Mul(v, c)), out + half + i, accumulate);
      });
    }
    if (x == y && !accumulate) continue;
    const int64_t value = row * width + turned * rope.head_dim;
    for_vectors(value, (row + 1) * width, [&](auto part, int64_t i) HWY_ATTR {
      put(part, part.load(x + i), y + i, accumulate);
    });
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace quern::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quern::kernels::cpu {
namespace {
HWY_EXPORT(ActivationForward);
HWY_EXPORT(ActivationBackward);
HWY_EXPORT(GatedUnitForward);
HWY_EXPORT(GatedUnitBackward);
HWY_EXPORT(Add);
HWY_EXPORT(Multiply);
HWY_EXPORT(Scale);
HWY_EXPORT(Rope);
}  // namespace

void activation_forward(const Context& context, Activation activation, const float* x,
                        int64_t count, float* y) {
  for_chunks(context, count, kTaskElements, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(ActivationForward)(activation, x + begin, end - begin, y + begin);
  });
}

void activation_backward(const Context& context, Activation activation, const float* x,
                         const float* y_grad, int64_t count, float* x_grad, bool accumulate) {
  for_chunks(context, count, kTaskElements, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(ActivationBackward)
    (activation, x + begin, y_grad + begin, end - begin, x_grad + begin, accumulate);
  });
}

void gated_unit_forward(const Context& context, Activation activation, const float* x, int64_t rows,
                        int64_t width, float* y) {
  for_chunks(context, rows, rows_per_task(width), [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(GatedUnitForward)
    (activation, x + begin * 2 * width, end - begin, width, y + begin * width);
  });
}

void gated_unit_backward(const Context& context, Activation activation, const float* x,
                         const float* y_grad, int64_t rows, int64_t width, float* x_grad,
                         bool accumulate) {
  for_chunks(context, rows, rows_per_task(width), [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(GatedUnitBackward)
    (activation, x + begin * 2 * width, y_grad + begin * width, end - begin, width,
     x_grad + begin * 2 * width, accumulate);
  });
}

void add(const Context& context, const float* a, const float* b, int64_t count, int64_t period,
         float scale, float* c) {
  for_chunks(context, count, kTaskElements, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(Add)(a, b, begin, end, period, scale, c);
  });
}

void multiply(const Context& context, const float* a, const float* b, int64_t count, int64_t period,
              float* c) {
  for_chunks(context, count, kTaskElements, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(Multiply)(a, b, begin, end, period, c);
  });
}

void scale(const Context& context, const float* x, int64_t count, float factor, float* y,
           bool accumulate) {
  for_chunks(context, count, kTaskElements, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(Scale)(x + begin, end - begin, factor, y + begin, accumulate);
  });
}

void rope(const Context& context, const cpu::Rope& rope, const float* x, float* y,
          bool accumulate) {
  const int64_t width = (rope.heads + 2 * rope.kv_heads) * rope.head_dim;
  for_chunks(context, rope.batch * rope.rows, rows_per_task(width),
             [&](int64_t begin, int64_t end) {
               HWY_DYNAMIC_DISPATCH(Rope)(rope, x, begin, end, y, accumulate);
             });
}

}  // namespace quern::kernels::cpu
#endif
