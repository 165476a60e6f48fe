#include "quern/kernels/reference/window.h"

#include <cmath>
#include <vector>

namespace quern::kernels::reference {
namespace {

void store(float& target, double value, bool accumulate) {
  target = static_cast<float>(accumulate ? static_cast<double>(target) + value : value);
}

/// The element of a picture that a window's place reads; -1 outside the picture.
int64_t source(const cpu::Windows& w, int64_t b, int64_t row, int64_t column, int64_t ky,
               int64_t kx, int64_t c) {
  const int64_t y = row * w.stride - w.padding + ky;
  const int64_t x = column * w.stride - w.padding + kx;
  if (y < 0 || y >= w.height || x < 0 || x >= w.width) return -1;
  return ((b * w.height + y) * w.width + x) * w.channels + c;
}

/// body(element of y, element of x or -1) for every place of every window.
template <typename Body>
void for_places(const cpu::Windows& w, const Body& body) {
  int64_t at = 0;
  for (int64_t b = 0; b < w.batch; ++b)
    for (int64_t row = 0; row < w.rows(); ++row)
      for (int64_t column = 0; column < w.columns(); ++column)
        for (int64_t ky = 0; ky < w.kernel; ++ky)
          for (int64_t kx = 0; kx < w.kernel; ++kx)
            for (int64_t c = 0; c < w.channels; ++c)
              body(at++, source(w, b, row, column, ky, kx, c));
}

/// body(element of y, element of x or -1, element of the weight) for every product of a
/// convolution.
template <typename Body>
void for_products(const cpu::Windows& w, int64_t outputs, const Body& body) {
  for_places(w, [&](int64_t at, int64_t from) {
    const int64_t window = at / w.pixels();
    for (int64_t n = 0; n < outputs; ++n)
      body(window * outputs + n, from, n * w.pixels() + at % w.pixels());
  });
}

void store_all(const std::vector<double>& sums, float* to, bool accumulate) {
  for (size_t i = 0; i < sums.size(); ++i) store(to[i], sums[i], accumulate);
}

std::vector<double> shares_of(const cpu::Pool& p, const float* scores, int64_t b) {
  std::vector<double> shares(static_cast<size_t>(p.length), 0.0);
  const int64_t valid = p.lengths == nullptr ? p.length : p.lengths[b];
  double sum = 0;
  for (int64_t t = 0; t < valid; ++t)
    sum += std::exp(static_cast<double>(scores[b * p.length + t]));
  for (int64_t t = 0; t < valid; ++t)
    shares[static_cast<size_t>(t)] = std::exp(static_cast<double>(scores[b * p.length + t])) / sum;
  return shares;
}

}  // namespace

void unfold(const cpu::Windows& w, const float* x, float* y) {
  for_places(w, [&](int64_t to, int64_t from) { y[to] = from < 0 ? 0.0F : x[from]; });
}

void unfold_backward(const cpu::Windows& w, const float* y_grad, float* x_grad, bool accumulate) {
  std::vector<double> sums(static_cast<size_t>(w.batch * w.picture()), 0.0);
  for_places(w, [&](int64_t to, int64_t from) {
    if (from >= 0) sums[static_cast<size_t>(from)] += static_cast<double>(y_grad[to]);
  });
  store_all(sums, x_grad, accumulate);
}

void convolve(const cpu::Windows& w, int64_t outputs, const float* x, const float* weight,
              float* y) {
  std::vector<double> sums(static_cast<size_t>(w.batch * w.count() * outputs), 0.0);
  for_products(w, outputs, [&](int64_t to, int64_t from, int64_t by) {
    if (from >= 0)
      sums[static_cast<size_t>(to)] +=
          static_cast<double>(x[from]) * static_cast<double>(weight[by]);
  });
  store_all(sums, y, false);
}

void convolve_backward(const cpu::Windows& w, int64_t outputs, const float* weight,
                       const float* y_grad, float* x_grad, bool accumulate) {
  std::vector<double> sums(static_cast<size_t>(w.batch * w.picture()), 0.0);
  for_products(w, outputs, [&](int64_t to, int64_t from, int64_t by) {
    if (from >= 0)
      sums[static_cast<size_t>(from)] +=
          static_cast<double>(y_grad[to]) * static_cast<double>(weight[by]);
  });
  store_all(sums, x_grad, accumulate);
}

void convolve_weight_backward(const cpu::Windows& w, int64_t outputs, const float* x,
                              const float* y_grad, float* weight_grad, bool accumulate) {
  std::vector<double> sums(static_cast<size_t>(outputs * w.pixels()), 0.0);
  for_products(w, outputs, [&](int64_t to, int64_t from, int64_t by) {
    if (from >= 0)
      sums[static_cast<size_t>(by)] +=
          static_cast<double>(y_grad[to]) * static_cast<double>(x[from]);
  });
  store_all(sums, weight_grad, accumulate);
}

void max_pool(const cpu::Windows& w, bool relu, const float* x, float* y, uint8_t* chosen) {
  const int64_t places = w.kernel * w.kernel;
  int64_t to = 0;
  for (int64_t b = 0; b < w.batch; ++b)
    for (int64_t row = 0; row < w.rows(); ++row)
      for (int64_t column = 0; column < w.columns(); ++column)
        for (int64_t c = 0; c < w.channels; ++c, ++to) {
          int64_t best = places;
          y[to] = 0;
          for (int64_t k = 0; k < places; ++k) {
            const int64_t at = source(w, b, row, column, k / w.kernel, k % w.kernel, c);
            if (at < 0) continue;
            const bool first = !relu && best == places;
            if (!first && !(x[at] > y[to])) continue;
            best = k;
            y[to] = x[at];
          }
          if (chosen != nullptr) chosen[to] = static_cast<uint8_t>(best);
        }
}

void max_pool_backward(const cpu::Windows& w, const uint8_t* chosen, const float* y_grad,
                       float* x_grad, bool accumulate) {
  std::vector<double> sums(static_cast<size_t>(w.batch * w.picture()), 0.0);
  for_places(w, [&](int64_t at, int64_t from) {
    const int64_t place = at % w.pixels() / w.channels;
    const int64_t to = at / w.pixels() * w.channels + at % w.channels;
    if (from >= 0 && chosen[to] == place)
      sums[static_cast<size_t>(from)] += static_cast<double>(y_grad[to]);
  });
  store_all(sums, x_grad, accumulate);
}

void pool(const cpu::Pool& p, const float* x, const float* scores, float* y) {
  for (int64_t b = 0; b < p.batch; ++b) {
    const std::vector<double> shares = shares_of(p, scores, b);
    for (int64_t j = 0; j < p.width; ++j) {
      double sum = 0;
      for (int64_t t = 0; t < p.length; ++t)
        sum += shares[static_cast<size_t>(t)] *
               static_cast<double>(x[(b * p.length + t) * p.width + j]);
      store(y[b * p.width + j], sum, false);
    }
  }
}

void pool_backward(const cpu::Pool& p, const float* x, const float* scores, const float* y_grad,
                   float* x_grad, bool accumulate_x, float* scores_grad, bool accumulate_scores) {
  for (int64_t b = 0; b < p.batch; ++b) {
    const std::vector<double> shares = shares_of(p, scores, b);
    // What each share's change does to the loss.
    std::vector<double> slopes;
    for (int64_t t = 0; t < p.length; ++t) {
      double slope = 0;
      for (int64_t j = 0; j < p.width; ++j) {
        const int64_t at = (b * p.length + t) * p.width + j;
        const auto grad = static_cast<double>(y_grad[b * p.width + j]);
        slope += grad * static_cast<double>(x[at]);
        if (x_grad != nullptr)
          store(x_grad[at], shares[static_cast<size_t>(t)] * grad, accumulate_x);
      }
      slopes.push_back(slope);
    }
    for (size_t t = 0; scores_grad != nullptr && t < slopes.size(); ++t) {
      double sum = 0;
      for (size_t u = 0; u < slopes.size(); ++u)
        sum += slopes[u] * shares[u] * ((t == u ? 1.0 : 0.0) - shares[t]);
      store(scores_grad[b * p.length + static_cast<int64_t>(t)], sum, accumulate_scores);
    }
  }
}

}  // namespace quern::kernels::reference
