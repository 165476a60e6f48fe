// Kernels of one thread an element: activations, broadcasts, dropout, rotation.

#include "quern/kernels/cuda/arguments.h"
#include "quern/kernels/cuda/simt.h"

namespace quern::kernels::cuda {

/// activation(x) and its derivative.
struct ActivationPair {
  float value, slope;
};
QUERN_DEVICE ActivationPair activate(Activation activation, float x) {
  switch (activation) {
    case Activation::kNone:
      break;
    case Activation::kRelu:
      return x > 0 ? ActivationPair{x, 1} : ActivationPair{x <= 0 ? 0 : x, x <= 0 ? 0 : x};
    case Activation::kGelu: {  // x·Φ(x), with the slope Φ(x) + x·φ(x)
      const float normal = 0.5F * (1 + erff(x * 0.707106781F));
      return {x * normal, normal + x * 0.398942280F * expf(-0.5F * x * x)};
    }
    case Activation::kGeluTanh: {  // (1 + tanh(u)) / 2 = s(2u) with the sigmoid s
      const float s = 1 / (1 + expf(-x * (1.59576912F + 0.0713548163F * x * x)));
      return {x * s, s + x * s * (1 - s) * (1.59576912F + 3 * 0.0713548163F * x * x)};
    }
    case Activation::kSilu: {
      const float s = 1 / (1 + expf(-x));
      return {x * s, s + x * s * (1 - s)};
    }
  }
  return {x, 1};
}

QUERN_TYPED_KERNEL(quern_activation_forward, arguments::Activation) {
  map_elements(a.count, a.x, a.y, false, [&](float x) { return activate(a.activation, x).value; });
}

QUERN_TYPED_KERNEL(quern_activation_backward, arguments::Activation) {
  map_elements(a.count, a.x, a.y_grad, a.y, a.accumulate,
               [&](float x, float grad) { return grad * activate(a.activation, x).slope; });
}

QUERN_TYPED_KERNEL(quern_gated_unit_forward, arguments::Activation) {
  for (int64_t i = grid_thread(); i < a.count; i += grid_threads()) {
    const T* gate = a.x + i / a.width * 2 * a.width + i % a.width;
    a.y[i] = activate(a.activation, *gate).value * gate[a.width];
  }
}

QUERN_TYPED_KERNEL(quern_gated_unit_backward, arguments::Activation) {
  for (int64_t i = grid_thread(); i < a.count; i += grid_threads()) {
    const int64_t at = i / a.width * 2 * a.width + i % a.width;
    const ActivationPair pair = activate(a.activation, a.x[at]);
    const float value = a.x[at + a.width];
    store(a.y + at, a.y_grad[i] * value * pair.slope, a.accumulate);
    store(a.y + at + a.width, a.y_grad[i] * pair.value, a.accumulate);
  }
}

QUERN_TYPED_KERNEL(quern_add, arguments::Binary) {
  if (a.period == a.count) {
    map_elements(a.count, a.a, a.b, a.c, false,
                 [&](float first, float second) { return first + a.factor * second; });
    return;
  }
  for (int64_t i = grid_thread(); i < a.count; i += grid_threads())
    a.c[i] = a.a[i] + a.factor * a.b[i % a.period];
}

QUERN_KERNEL(quern_multiply, arguments::Binary<float>) {
  for (int64_t i = grid_thread(); i < a.count; i += grid_threads())
    store(a.c + i, a.a[i] * a.b[a.period == a.count ? i : i % a.period], a.accumulate);
}

QUERN_TYPED_KERNEL(quern_scale, arguments::Scale) {
  map_elements(a.count, a.x, a.y, a.accumulate, [&](float x) { return a.factor * x; });
}

/// Element e of a sample takes word (e % 64) / 16 of the Philox block (e / 64) · 16 + e % 16, as on
/// the processor: a thread draws one block, for the four elements that it decides about.
QUERN_TYPED_KERNEL(quern_dropout, arguments::Dropout) {
  const cpu::Dropout& d = a.dropout;
  const int64_t draws = divide_up(d.sample_size, 64) * 16;
  const float kept = 1 / (1 - d.rate);
  for (int64_t i = grid_thread(); i < draws * d.samples; i += grid_threads()) {
    const int64_t sample = i / draws;
    const int64_t block = i % draws;
    uint32_t words[4] = {static_cast<uint32_t>(d.per_sample ? 0 : block), d.stream << 20 ^ d.layer,
                         d.random[3] + static_cast<uint32_t>(sample), d.random[2]};
    philox(words, d.random[0], d.random[1]);
    for (int64_t k = 0; k < 4; ++k) {
      const int64_t element = block / 16 * 64 + k * 16 + block % 16;
      if (element >= d.sample_size) break;
      const int64_t at = sample * d.sample_size + element;
      const uint32_t word = words[d.per_sample ? 0 : k];
      float value = word < a.threshold ? 0 : a.x[at] * kept;
      if (a.residual != nullptr) value += a.residual[at];
      store(a.y + at, value, a.accumulate);
    }
  }
}

/// One thread a pair of a head's row; the value heads' pairs are copied.
QUERN_TYPED_KERNEL(quern_rope, arguments::Rope) {
  const cpu::Rope& r = a.rope;
  const int64_t half = r.head_dim / 2;
  const int64_t heads = r.heads + 2 * r.kv_heads;
  const int64_t pairs = r.batch * r.rows * heads * half;
  for (int64_t i = grid_thread(); i < pairs; i += grid_threads()) {
    const int64_t pair = i % half;
    const int64_t head = i / half % heads;
    const int64_t row = i / (half * heads);
    const int64_t at = (row * heads + head) * r.head_dim + pair;
    const float x0 = a.x[at];
    const float x1 = a.x[at + half];
    float cosine = 1;
    float sine = 0;
    if (head < r.heads + r.kv_heads) {
      const int64_t offset = r.offsets != nullptr ? r.offsets[row / r.rows] : 0;
      const float* angles = r.table + (offset + row % r.rows) * r.head_dim;
      cosine = angles[pair];
      sine = r.inverse ? -angles[half + pair] : angles[half + pair];
    }
    store(a.y + at, x0 * cosine - x1 * sine, a.accumulate);
    store(a.y + at + half, x1 * cosine + x0 * sine, a.accumulate);
  }
}

}  // namespace quern::kernels::cuda
