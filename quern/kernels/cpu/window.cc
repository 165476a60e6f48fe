#include "quern/kernels/cpu/window.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "quern/kernels/cpu/parallel.h"

namespace quern::kernels::cpu {
namespace {

/// body(index of the picture) for each; a picture is one task's, so sums need no order among tasks.
template <typename Body>
void for_pictures(const Context& context, const Windows& w, const Body& body) {
  const int64_t elements = w.count() * w.pixels();
  for_chunks(context, w.batch, rows_per_task(elements), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) body(b);
  });
}

/// body(window's index, first pixel's row and column) for each window of a picture.
template <typename Body>
void for_windows(const Windows& w, const Body& body) {
  int64_t window = 0;
  for (int64_t row = 0; row < w.rows(); ++row) {
    for (int64_t column = 0; column < w.columns(); ++column, ++window)
      body(window, row * w.stride - w.padding, column * w.stride - w.padding);
  }
}

bool inside(int64_t at, int64_t extent) { return at >= 0 && at < extent; }

int64_t valid_length(const Pool& pool, int64_t b) {
  return pool.lengths == nullptr ? pool.length
                                 : std::clamp<int64_t>(pool.lengths[b], 0, pool.length);
}

void softmax_into(const float* scores, int64_t count, std::vector<float>& shares) {
  shares.resize(static_cast<size_t>(count));
  if (count == 0) return;
  const float highest = *std::max_element(scores, scores + count);
  double sum = 0;
  for (size_t t = 0; t < shares.size(); ++t) {
    shares[t] = std::exp(scores[t] - highest);
    sum += static_cast<double>(shares[t]);
  }
  for (float& share : shares) share = static_cast<float>(static_cast<double>(share) / sum);
}

}  // namespace

void unfold_backward(const Context& context, const Windows& w, const float* y_grad, float* x_grad,
                     bool accumulate) {
  const int64_t line = w.kernel * w.channels;
  for_pictures(context, w, [&](int64_t b) {
    float* picture = x_grad + b * w.picture();
    if (!accumulate) std::fill(picture, picture + w.picture(), 0.0F);
    const float* grad = y_grad + b * w.rows() * w.columns() * w.kernel * line;
    for_windows(w, [&](int64_t, int64_t top, int64_t left) {
      const int64_t begin = std::clamp<int64_t>(-left, 0, w.kernel);
      const int64_t end = std::clamp<int64_t>(w.width - left, begin, w.kernel);
      for (int64_t k = 0; k < w.kernel; ++k, grad += line) {
        if (!inside(top + k, w.height)) continue;
        float* to = picture + ((top + k) * w.width + left) * w.channels;
        for (int64_t i = begin * w.channels; i < end * w.channels; ++i) to[i] += grad[i];
      }
    });
  });
}

void pool(const Context& context, const Pool& p, const float* x, const float* scores, float* y) {
  for_chunks(context, p.batch, rows_per_task(p.length * p.width), [&](int64_t begin, int64_t end) {
    thread_local std::vector<float> shares;
    for (int64_t b = begin; b < end; ++b) {
      softmax_into(scores + b * p.length, valid_length(p, b), shares);
      float* out = y + b * p.width;
      std::fill(out, out + p.width, 0.0F);
      const float* row = x + b * p.length * p.width;
      for (const float share : shares) {
        for (int64_t j = 0; j < p.width; ++j) out[j] += share * row[j];
        row += p.width;
      }
    }
  });
}

void pool_backward(const Context& context, const Pool& p, const float* x, const float* scores,
                   const float* y_grad, float* x_grad, bool accumulate_x, float* scores_grad,
                   bool accumulate_scores) {
  for_chunks(context, p.batch, rows_per_task(p.length * p.width), [&](int64_t begin, int64_t end) {
    thread_local std::vector<float> shares;
    for (int64_t b = begin; b < end; ++b) {
      softmax_into(scores + b * p.length, valid_length(p, b), shares);
      const float* grad = y_grad + b * p.width;
      const auto valid = static_cast<int64_t>(shares.size());
      if (x_grad != nullptr) {
        for (int64_t t = 0; t < p.length; ++t) {
          float* to = x_grad + (b * p.length + t) * p.width;
          const float share = t < valid ? shares[static_cast<size_t>(t)] : 0.0F;
          for (int64_t j = 0; j < p.width; ++j)
            to[j] = accumulate_x ? to[j] + share * grad[j] : share * grad[j];
        }
      }
      if (scores_grad == nullptr) continue;
      // dL/ds_t = share_t · (g · x_t - Σ_u share_u g · x_u)
      const auto dot = [&](int64_t t) {
        const float* row = x + (b * p.length + t) * p.width;
        double sum = 0;
        for (int64_t j = 0; j < p.width; ++j)
          sum += static_cast<double>(row[j]) * static_cast<double>(grad[j]);
        return sum;
      };
      double mean = 0;
      for (int64_t t = 0; t < valid; ++t)
        mean += static_cast<double>(shares[static_cast<size_t>(t)]) * dot(t);
      for (int64_t t = 0; t < p.length; ++t) {
        const double value =
            t < valid ? static_cast<double>(shares[static_cast<size_t>(t)]) * (dot(t) - mean) : 0;
        float& to = scores_grad[b * p.length + t];
        to = static_cast<float>(accumulate_scores ? static_cast<double>(to) + value : value);
      }
    }
  });
}

}  // namespace quern::kernels::cpu
