#include "quern/kernels/reference/norm.h"

#include <cmath>
#include <cstddef>
#include <vector>

namespace quern::kernels::reference {
namespace {

struct Statistics {
  double mean = 0, inverse = 0;
};

Statistics statistics_of(const cpu::Norm& norm, const double* x) {
  Statistics s;
  for (int64_t i = 0; i < norm.width && !norm.rms; ++i) s.mean += x[i];
  s.mean /= static_cast<double>(norm.width);
  double variance = 0;
  for (int64_t i = 0; i < norm.width; ++i) variance += (x[i] - s.mean) * (x[i] - s.mean);
  variance /= static_cast<double>(norm.width);
  s.inverse = 1 / std::sqrt(variance + static_cast<double>(norm.epsilon));
  return s;
}

}  // namespace

template <class T>
void norm_forward(const cpu::Norm& norm, const NormInputs<T>& in, T* y, T* sum, T* statistics) {
  std::vector<double> x(static_cast<size_t>(norm.width));
  for (int64_t row = 0; row < norm.rows; ++row) {
    for (int64_t i = 0; i < norm.width; ++i) {
      const int64_t at = row * norm.width + i;
      // What is normalised is the sum as it is stored.
      T v = in.x[at];
      if (in.residual) v = sum[at] = v + in.residual[at];
      x[static_cast<size_t>(i)] = static_cast<double>(v);
    }
    const Statistics s = statistics_of(norm, x.data());
    if (statistics) {
      statistics[2 * row] = static_cast<T>(s.mean);
      statistics[2 * row + 1] = static_cast<T>(s.inverse);
    }
    for (int64_t i = 0; i < norm.width; ++i) {
      double v = (x[static_cast<size_t>(i)] - s.mean) * s.inverse;
      if (in.weight) v *= static_cast<double>(in.weight[i]);
      if (in.bias) v += static_cast<double>(in.bias[i]);
      y[row * norm.width + i] = static_cast<T>(v);
    }
  }
}

template <class T>
void norm_backward(const cpu::Norm& norm, const NormInputs<T>& in, const T* y_grad,
                   const T* sum_grad, T* x_grad, bool accumulate_x, T* weight_grad, T* bias_grad,
                   bool accumulate_parameters) {
  const auto width = static_cast<size_t>(norm.width);
  std::vector<double> x(width), g(width), dw(width), db(width);
  for (int64_t row = 0; row < norm.rows; ++row) {
    const int64_t first = row * norm.width;
    for (size_t i = 0; i < width; ++i)
      x[i] = static_cast<double>(in.x[first + static_cast<int64_t>(i)]);
    const Statistics s = statistics_of(norm, x.data());
    double mean = 0, mean_of_products = 0;
    for (size_t i = 0; i < width; ++i) {
      x[i] = (x[i] - s.mean) * s.inverse;
      g[i] = static_cast<double>(y_grad[first + static_cast<int64_t>(i)]);
      dw[i] += g[i] * x[i];
      db[i] += g[i];
      if (in.weight) g[i] *= static_cast<double>(in.weight[i]);
      mean += g[i] / static_cast<double>(width);
      mean_of_products += g[i] * x[i] / static_cast<double>(width);
    }
    if (norm.rms) mean = 0;
    for (size_t i = 0; i < width && x_grad; ++i) {
      const int64_t at = first + static_cast<int64_t>(i);
      double v = s.inverse * (g[i] - mean - x[i] * mean_of_products);
      if (sum_grad) v += static_cast<double>(sum_grad[at]);
      if (accumulate_x) v += static_cast<double>(x_grad[at]);
      x_grad[at] = static_cast<T>(v);
    }
  }
  const auto put = [&](T* grad, const std::vector<double>& from) {
    for (size_t i = 0; i < width && grad; ++i)
      grad[i] =
          static_cast<T>(from[i] + (accumulate_parameters ? static_cast<double>(grad[i]) : 0));
  };
  put(weight_grad, dw);
  put(bias_grad, db);
}

#define QUERN_INSTANTIATE(T)                                                                  \
  template void norm_forward(const cpu::Norm&, const NormInputs<T>&, T*, T*, T*);             \
  template void norm_backward(const cpu::Norm&, const NormInputs<T>&, const T*, const T*, T*, \
                              bool, T*, T*, bool);
QUERN_INSTANTIATE(float)
QUERN_INSTANTIATE(double)
#undef QUERN_INSTANTIATE

void norm_forward(const cpu::Norm& norm, float* y, float* sum, float* statistics) {
  norm_forward<float>(norm, {norm.x, norm.residual, norm.weight, norm.bias}, y, sum, statistics);
}

void norm_backward(const cpu::Norm& norm, const float* y_grad, const float* sum_grad, float* x_grad,
                   bool accumulate_x, float* weight_grad, float* bias_grad,
                   bool accumulate_parameters) {
  norm_backward<float>(norm, {norm.x, norm.residual, norm.weight, norm.bias}, y_grad, sum_grad,
                       x_grad, accumulate_x, weight_grad, bias_grad, accumulate_parameters);
}

}  // namespace quern::kernels::reference
