#include "quern/kernels/reference/elementwise.h"

#include <cmath>
#include <cstddef>
#include <numbers>
#include <vector>

#include "quern/base/random.h"

namespace quern::kernels::reference {
namespace {

double value(Activation activation, double x) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kRelu:
      return x > 0 ? x : 0;
    case Activation::kGelu:
      return 0.5 * x * std::erfc(-x / std::numbers::sqrt2);
    case Activation::kGeluTanh:
      return 0.5 * x *
             (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
  }
  return x;
}

double slope(Activation activation, double x) {
  switch (activation) {
    case Activation::kNone:
      return 1;
    case Activation::kRelu:
      return x > 0 ? 1 : 0;
    case Activation::kGelu:
      return 0.5 * std::erfc(-x / std::numbers::sqrt2) +
             x * std::exp(-0.5 * x * x) / std::sqrt(2 * std::numbers::pi);
    case Activation::kGeluTanh: {
      const double c = std::sqrt(2 / std::numbers::pi);
      const double t = std::tanh(c * (x + 0.044715 * x * x * x));
      return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x);
    }
    case Activation::kSilu: {
      const double s = 1 / (1 + std::exp(-x));
      return s + x * s * (1 - s);
    }
  }
  return 1;
}

template <class T>
void put(T& y, double v, bool accumulate) {
  y = static_cast<T>(accumulate ? static_cast<double>(y) + v : v);
}

}  // namespace

template <class T>
void activation_forward(Activation activation, const T* x, int64_t count, T* y) {
  for (int64_t i = 0; i < count; ++i)
    y[i] = static_cast<T>(value(activation, static_cast<double>(x[i])));
}

template <class T>
void activation_backward(Activation activation, const T* x, const T* y_grad, int64_t count,
                         T* x_grad, bool accumulate) {
  for (int64_t i = 0; i < count; ++i) {
    const double d = slope(activation, static_cast<double>(x[i]));
    put(x_grad[i], d * static_cast<double>(y_grad[i]), accumulate);
  }
}

template <class T>
void gated_unit_forward(Activation activation, const T* x, int64_t rows, int64_t width, T* y) {
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < width; ++i) {
      const T* at = x + row * 2 * width + i;
      y[row * width + i] = static_cast<T>(value(activation, static_cast<double>(at[0])) *
                                          static_cast<double>(at[width]));
    }
  }
}

template <class T>
void gated_unit_backward(Activation activation, const T* x, const T* y_grad, int64_t rows,
                         int64_t width, T* x_grad, bool accumulate) {
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < width; ++i) {
      const int64_t at = row * 2 * width + i;
      const double gate = static_cast<double>(x[at]), other = static_cast<double>(x[at + width]);
      const double grad = static_cast<double>(y_grad[row * width + i]);
      put(x_grad[at], grad * other * slope(activation, gate), accumulate);
      put(x_grad[at + width], grad * value(activation, gate), accumulate);
    }
  }
}

template <class T>
void add(const T* a, const T* b, int64_t count, int64_t period, double scale, T* c) {
  for (int64_t i = 0; i < count; ++i)
    c[i] = static_cast<T>(static_cast<double>(a[i]) + scale * static_cast<double>(b[i % period]));
}

template <class T>
void multiply(const T* a, const T* b, int64_t count, int64_t period, T* c) {
  for (int64_t i = 0; i < count; ++i)
    c[i] = static_cast<T>(static_cast<double>(a[i]) * static_cast<double>(b[i % period]));
}

template <class T>
void scale(const T* x, int64_t count, double factor, T* y, bool accumulate) {
  for (int64_t i = 0; i < count; ++i) put(y[i], factor * static_cast<double>(x[i]), accumulate);
}

bool dropout_keeps(const cpu::Dropout& dropout, int64_t sample, int64_t element) {
  if (dropout.per_sample) element = 0;
  const auto block = static_cast<uint32_t>(element / 64 * 16 + element % 16);
  const auto word = static_cast<size_t>(element % 64 / 16);
  const uint32_t global = dropout.random[3] + static_cast<uint32_t>(sample);
  const PhiloxCounter bits =
      philox({block, (dropout.stream << 20) ^ dropout.layer, global, dropout.random[2]},
             {dropout.random[0], dropout.random[1]});
  return static_cast<double>(bits[word]) >= std::floor(static_cast<double>(dropout.rate) * 0x1p32);
}

template <class T>
void dropout(const cpu::Dropout& dropout, const T* x, const T* residual, T* y, bool accumulate) {
  const double factor = 1 / (1 - static_cast<double>(dropout.rate));
  for (int64_t sample = 0; sample < dropout.samples; ++sample) {
    for (int64_t e = 0; e < dropout.sample_size; ++e) {
      const int64_t i = sample * dropout.sample_size + e;
      const double kept =
          dropout_keeps(dropout, sample, e) ? factor * static_cast<double>(x[i]) : 0;
      put(y[i], kept + (residual ? static_cast<double>(residual[i]) : 0), accumulate);
    }
  }
}

template <class T>
void rope(const cpu::Rope& rope, const T* x, T* y, bool accumulate) {
  const int64_t half = rope.head_dim / 2;
  const int64_t turned = (rope.heads + rope.kv_heads) * rope.head_dim;
  const int64_t width = turned + rope.kv_heads * rope.head_dim;
  std::vector<double> result(static_cast<size_t>(width));
  for (int64_t row = 0; row < rope.batch * rope.rows; ++row) {
    const T* in = x + row * width;
    const int64_t offset = rope.offsets ? rope.offsets[row / rope.rows] : 0;
    const float* angles = rope.table + (offset + row % rope.rows) * rope.head_dim;
    for (int64_t i = 0; i < width; ++i) {
      double v = static_cast<double>(in[i]);
      if (i < turned) {
        const int64_t d = i % rope.head_dim;
        const bool first = d < half;
        const double other = static_cast<double>(in[first ? i + half : i - half]);
        const double sine = static_cast<double>(angles[half + d % half]);
        v = v * static_cast<double>(angles[d % half]) +
            (first == rope.inverse ? other * sine : -other * sine);
      }
      result[static_cast<size_t>(i)] = v;
    }
    for (int64_t i = 0; i < width; ++i)
      put(y[row * width + i], result[static_cast<size_t>(i)], accumulate);
  }
}

#define QUERN_INSTANTIATE(T)                                                                     \
  template void activation_forward(Activation, const T*, int64_t, T*);                           \
  template void activation_backward(Activation, const T*, const T*, int64_t, T*, bool);          \
  template void gated_unit_forward(Activation, const T*, int64_t, int64_t, T*);                  \
  template void gated_unit_backward(Activation, const T*, const T*, int64_t, int64_t, T*, bool); \
  template void add(const T*, const T*, int64_t, int64_t, double, T*);                           \
  template void multiply(const T*, const T*, int64_t, int64_t, T*);                              \
  template void scale(const T*, int64_t, double, T*, bool);                                      \
  template void dropout(const cpu::Dropout&, const T*, const T*, T*, bool);                      \
  template void rope(const cpu::Rope&, const T*, T*, bool);
QUERN_INSTANTIATE(float)
QUERN_INSTANTIATE(double)
#undef QUERN_INSTANTIATE

}  // namespace quern::kernels::reference
