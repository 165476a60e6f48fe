#include "quern/kernels/reference/attention.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <vector>

#include "quern/base/random.h"

namespace quern::kernels::reference {
namespace {

using cpu::Attention;

// One query of one head: weights (capacity) before dropout, and what dropout multiplies them by.
struct Row {
  std::vector<double> weights, keep;
  double lse = -std::numeric_limits<double>::infinity();
};

double keep_factor(const Attention& a, int64_t b, int64_t h, int64_t t, int64_t j) {
  if (a.dropout <= 0) return 1;
  const auto sample = static_cast<int64_t>(a.random[3]) + b;
  const PhiloxCounter words = philox({static_cast<uint32_t>(t), static_cast<uint32_t>(j / 4),
                                      static_cast<uint32_t>(sample * a.heads + h), a.random[2]},
                                     {a.random[0] + a.layer, a.random[1] ^ Attention::kDropoutKey});
  const double word = words[static_cast<size_t>(j % 4)];
  const bool keep = word >= std::floor(static_cast<double>(a.dropout) * 4294967296.0);
  return keep ? 1 / (1 - static_cast<double>(a.dropout)) : 0;
}

const float* query(const Attention& a, int64_t b, int64_t h, int64_t t) {
  return a.q + b * a.q_batch + t * a.q_row + h * a.q_head;
}
int64_t key_offset(const Attention& a, int64_t b, int64_t h, int64_t j) {
  return b * a.kv_batch + j * a.kv_row + h / (a.heads / a.kv_heads) * a.kv_head;
}
double dot(const float* x, const float* y, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(y[i]);
  return sum;
}

Row row(const Attention& a, int64_t b, int64_t h, int64_t t) {
  Row row;
  row.weights.assign(static_cast<size_t>(a.capacity), 0);
  row.keep.assign(static_cast<size_t>(a.capacity), 1);
  const int64_t valid = a.lengths ? std::min<int64_t>(a.lengths[b], a.capacity) : a.capacity;
  const int64_t position = valid - a.queries + t;
  std::vector<double> scores(static_cast<size_t>(a.capacity));
  double maximum = -std::numeric_limits<double>::infinity();
  const auto seen = [&](int64_t j) {
    if (j >= valid || (a.causal && j > position)) return false;
    if (a.window > 0 && j <= position - a.window) return false;
    return !a.segments || a.segments[b * a.queries + t] == a.segments[b * a.queries + j];
  };
  for (int64_t j = 0; j < a.capacity; ++j) {
    if (!seen(j)) continue;
    double& score = scores[static_cast<size_t>(j)];
    score = dot(query(a, b, h, t), a.k + key_offset(a, b, h, j), a.head_dim) *
            static_cast<double>(a.scale);
    if (a.alibi_slopes) {
      score -= static_cast<double>(a.alibi_slopes[h]) * static_cast<double>(std::abs(position - j));
    }
    maximum = std::max(maximum, score);
  }
  double sum = 0;
  for (int64_t j = 0; j < a.capacity; ++j) {
    if (!seen(j)) continue;
    const auto i = static_cast<size_t>(j);
    sum += row.weights[i] = std::exp(scores[i] - maximum);
    row.keep[i] = keep_factor(a, b, h, t, j);
  }
  if (sum > 0) {
    for (double& weight : row.weights) weight /= sum;
    row.lse = maximum + std::log(sum);
  }
  return row;
}

template <typename F>
void for_each_row(const Attention& a, const F& f) {
  for (int64_t b = 0; b < a.batch; ++b) {
    for (int64_t h = 0; h < a.heads; ++h) {
      for (int64_t t = 0; t < a.queries; ++t) f(b, h, t, row(a, b, h, t));
    }
  }
}

}  // namespace

void attention_forward(const Attention& a, float* out, float* lse) {
  for_each_row(a, [&](int64_t b, int64_t h, int64_t t, const Row& row) {
    for (int64_t d = 0; d < a.head_dim; ++d) {
      double sum = 0;
      for (int64_t j = 0; j < a.capacity; ++j) {
        const auto i = static_cast<size_t>(j);
        if (row.weights[i] == 0) continue;
        sum += row.weights[i] * row.keep[i] * static_cast<double>(a.v[key_offset(a, b, h, j) + d]);
      }
      out[((b * a.queries + t) * a.heads + h) * a.head_dim + d] = static_cast<float>(sum);
    }
    if (lse) lse[(b * a.heads + h) * a.queries + t] = static_cast<float>(row.lse);
  });
}

void attention_backward(const Attention& a, const float* out_grad, float* q_grad, float* k_grad,
                        float* v_grad) {
  const auto keys = static_cast<size_t>(a.batch * a.kv_heads * a.capacity * a.head_dim);
  std::vector<double> dk(keys), dv(keys);
  for_each_row(a, [&](int64_t b, int64_t h, int64_t t, const Row& row) {
    const float* grad = out_grad + ((b * a.queries + t) * a.heads + h) * a.head_dim;
    const int64_t kv = h / (a.heads / a.kv_heads);
    // dP before dropout, and Σ P·dP, which softmax takes off.
    std::vector<double> dp(static_cast<size_t>(a.capacity));
    double mean = 0;
    for (size_t i = 0; i < dp.size(); ++i) {
      if (row.weights[i] == 0) continue;
      dp[i] =
          row.keep[i] * dot(grad, a.v + key_offset(a, b, h, static_cast<int64_t>(i)), a.head_dim);
      mean += row.weights[i] * dp[i];
    }
    std::vector<double> dq(static_cast<size_t>(a.head_dim));
    for (size_t i = 0; i < dp.size(); ++i) {
      if (row.weights[i] == 0) continue;
      const double ds = row.weights[i] * (dp[i] - mean) * static_cast<double>(a.scale);
      const auto j = static_cast<int64_t>(i);
      const float* k = a.k + key_offset(a, b, h, j);
      const auto at = static_cast<size_t>(((b * a.kv_heads + kv) * a.capacity + j) * a.head_dim);
      for (size_t d = 0; d < dq.size(); ++d) {
        dq[d] += ds * static_cast<double>(k[d]);
        dk[at + d] += ds * static_cast<double>(query(a, b, h, t)[d]);
        dv[at + d] += row.weights[i] * row.keep[i] * static_cast<double>(grad[d]);
      }
    }
    float* to = q_grad + b * a.q_batch + t * a.q_row + h * a.q_head;
    for (size_t d = 0; d < dq.size(); ++d) to[d] = static_cast<float>(dq[d]);
  });
  for (int64_t b = 0; b < a.batch; ++b) {
    for (int64_t kv = 0; kv < a.kv_heads; ++kv) {
      for (int64_t j = 0; j < a.capacity; ++j) {
        for (int64_t d = 0; d < a.head_dim; ++d) {
          const auto at =
              static_cast<size_t>(((b * a.kv_heads + kv) * a.capacity + j) * a.head_dim + d);
          const int64_t to = b * a.kv_batch + j * a.kv_row + kv * a.kv_head + d;
          k_grad[to] = static_cast<float>(dk[at]);
          v_grad[to] = static_cast<float>(dv[at]);
        }
      }
    }
  }
}

}  // namespace quern::kernels::reference
