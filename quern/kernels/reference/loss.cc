#include "quern/kernels/reference/loss.h"

#include <algorithm>
#include <cmath>

namespace quern::kernels::reference {
namespace {

template <class T>
double log_sum_exp(const T* x, int64_t count) {
  const double max = static_cast<double>(*std::max_element(x, x + count));
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += std::exp(static_cast<double>(x[i]) - max);
  return max + std::log(sum);
}

}  // namespace

template <class T>
void cross_entropy_forward(const cpu::CrossEntropy& c, const T* logits, double weight, T* nll,
                           T* lse, T* loss) {
  const double smoothing = static_cast<double>(c.label_smoothing);
  double total = 0;
  for (int64_t row = 0; row < c.rows; ++row) {
    const T* x = logits + row * c.classes;
    const double log_sum = log_sum_exp(x, c.classes);
    if (lse) lse[row] = static_cast<T>(log_sum);
    if (nll) nll[row] = 0;
    if (c.targets[row] < 0) continue;
    const double own = log_sum - static_cast<double>(x[c.targets[row]]);
    if (nll) nll[row] = static_cast<T>(own);
    double mean = 0;
    for (int64_t i = 0; i < c.classes; ++i)
      mean += (log_sum - static_cast<double>(x[i])) / static_cast<double>(c.classes);
    const double row_weight = c.row_weights ? static_cast<double>(c.row_weights[row]) : 1;
    total += row_weight * ((1 - smoothing) * own + smoothing * mean);
  }
  *loss = static_cast<T>(weight * total);
}

template <class T>
void cross_entropy_backward(const cpu::CrossEntropy& c, const T* logits, double weight,
                            T* logits_grad, bool accumulate) {
  const double smoothing = static_cast<double>(c.label_smoothing);
  for (int64_t row = 0; row < c.rows; ++row) {
    const T* x = logits + row * c.classes;
    const double log_sum = log_sum_exp(x, c.classes);
    for (int64_t i = 0; i < c.classes; ++i) {
      double g = 0;
      if (c.targets[row] >= 0) {
        const double target =
            (i == c.targets[row] ? 1 - smoothing : 0) + smoothing / static_cast<double>(c.classes);
        const double row_weight = c.row_weights ? static_cast<double>(c.row_weights[row]) : 1;
        g = weight * row_weight * (std::exp(static_cast<double>(x[i]) - log_sum) - target);
      }
      T& to = logits_grad[row * c.classes + i];
      to = static_cast<T>(accumulate ? static_cast<double>(to) + g : g);
    }
  }
}

void squared_error_forward(const cpu::SquaredError& s, double weight, float* errors, float* loss) {
  double total = 0;
  for (int64_t i = 0; i < s.count; ++i) {
    const double difference =
        static_cast<double>(s.predictions[i]) - static_cast<double>(s.targets[i]);
    const double row_weight = s.row_weights ? static_cast<double>(s.row_weights[i]) : 1;
    if (errors) errors[i] = static_cast<float>(difference * difference);
    total += row_weight * difference * difference;
  }
  *loss = static_cast<float>(weight * total);
}

void squared_error_backward(const cpu::SquaredError& s, double weight, float* grad,
                            bool accumulate) {
  for (int64_t i = 0; i < s.count; ++i) {
    const double difference =
        static_cast<double>(s.predictions[i]) - static_cast<double>(s.targets[i]);
    const double row_weight = s.row_weights ? static_cast<double>(s.row_weights[i]) : 1;
    const double value = 2 * weight * row_weight * difference;
    grad[i] = static_cast<float>(accumulate ? static_cast<double>(grad[i]) + value : value);
  }
}

template <class T>
void softmax(const T* x, int64_t rows, int64_t classes, T* y) {
  for (int64_t row = 0; row < rows; ++row) {
    const double log_sum = log_sum_exp(x + row * classes, classes);
    for (int64_t i = row * classes; i < (row + 1) * classes; ++i)
      y[i] = static_cast<T>(std::exp(static_cast<double>(x[i]) - log_sum));
  }
}

#define QUERN_INSTANTIATE(T)                                                                   \
  template void cross_entropy_forward(const cpu::CrossEntropy&, const T*, double, T*, T*, T*); \
  template void cross_entropy_backward(const cpu::CrossEntropy&, const T*, double, T*, bool);  \
  template void softmax(const T*, int64_t, int64_t, T*);
QUERN_INSTANTIATE(float)
QUERN_INSTANTIATE(double)
#undef QUERN_INSTANTIATE

}  // namespace quern::kernels::reference
