#include "quern/metrics/linear_baseline.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <functional>
#include <numeric>

#include "quern/base/random.h"
#include "quern/metrics/softmax.h"

namespace quern::metrics {
namespace {

using Vector = std::vector<double>;

double dot(const Vector& a, const Vector& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

/// Minimises f from `x`; f gives the value and fills the gradient.
void minimise(const std::function<double(const Vector&, Vector&)>& f, Vector& x, int iterations) {
  constexpr size_t kMemory = 10;
  struct Pair {
    Vector s, y;
    double rho;
  };
  std::deque<Pair> pairs;
  Vector gradient(x.size());
  Vector next_gradient(x.size());
  Vector next(x.size());
  double value = f(x, gradient);
  const double enough = 1e-4 * std::sqrt(dot(gradient, gradient));
  for (int iteration = 0; iteration < iterations; ++iteration) {
    if (std::sqrt(dot(gradient, gradient)) <= enough) return;
    Vector direction = gradient;
    std::vector<double> alphas(pairs.size());
    for (size_t i = pairs.size(); i-- > 0;) {
      alphas[i] = pairs[i].rho * dot(pairs[i].s, direction);
      for (size_t j = 0; j < x.size(); ++j) direction[j] -= alphas[i] * pairs[i].y[j];
    }
    const double scale =
        pairs.empty() ? 1 / std::max(1.0, std::sqrt(dot(gradient, gradient)))
                      : dot(pairs.back().s, pairs.back().y) / dot(pairs.back().y, pairs.back().y);
    for (double& d : direction) d *= scale;
    for (size_t i = 0; i < pairs.size(); ++i) {
      const double beta = pairs[i].rho * dot(pairs[i].y, direction);
      for (size_t j = 0; j < x.size(); ++j) direction[j] += (alphas[i] - beta) * pairs[i].s[j];
    }
    const double slope = -dot(gradient, direction);
    if (!(slope < 0)) return;
    double step = 1;
    double next_value = value;
    for (int attempt = 0; attempt < 30; ++attempt, step /= 2) {
      for (size_t j = 0; j < x.size(); ++j) next[j] = x[j] - step * direction[j];
      next_value = f(next, next_gradient);
      if (next_value <= value + 1e-4 * step * slope) break;
    }
    if (!(next_value < value)) return;
    Pair pair{Vector(x.size()), Vector(x.size()), 0};
    for (size_t j = 0; j < x.size(); ++j) {
      pair.s[j] = next[j] - x[j];
      pair.y[j] = next_gradient[j] - gradient[j];
    }
    const double curvature = dot(pair.s, pair.y);
    if (curvature > 1e-12) {
      pair.rho = 1 / curvature;
      pairs.push_back(std::move(pair));
      if (pairs.size() > kMemory) pairs.pop_front();
    }
    x.swap(next);
    gradient.swap(next_gradient);
    value = next_value;
  }
}

/// scores (outputs) of one row: W x + b. Weights lie (width + 1, outputs) while fitting, so that
/// one feature touches neighbours.
void score_row(const SparseRows& rows, size_t row, const Vector& w, size_t outputs, double* out) {
  const double* bias = w.data() + rows.width * outputs;
  std::copy(bias, bias + outputs, out);
  for (uint64_t i = rows.begins[row]; i < rows.begins[row + 1]; ++i) {
    const double* at = w.data() + rows.columns[i] * outputs;
    const auto value = static_cast<double>(rows.values[i]);
    for (size_t k = 0; k < outputs; ++k) out[k] += value * at[k];
  }
}

void add_gradient(const SparseRows& rows, size_t row, const double* error, size_t outputs,
                  Vector& gradient) {
  for (uint64_t i = rows.begins[row]; i < rows.begins[row + 1]; ++i) {
    double* at = gradient.data() + rows.columns[i] * outputs;
    const auto value = static_cast<double>(rows.values[i]);
    for (size_t k = 0; k < outputs; ++k) at[k] += value * error[k];
  }
  double* bias = gradient.data() + rows.width * outputs;
  for (size_t k = 0; k < outputs; ++k) bias[k] += error[k];
}

/// ½ penalty |W|² of all but the intercepts, added to value and gradient.
double regularise(const Vector& w, size_t count, double penalty, Vector& gradient) {
  double sum = 0;
  for (size_t i = 0; i < count; ++i) {
    sum += w[i] * w[i];
    gradient[i] += penalty * w[i];
  }
  return penalty * sum / 2;
}

/// w (width + 1) of class `of` against all others.
Vector one_against_the_rest(const SparseRows& rows, std::span<const int32_t> labels, int32_t of,
                            double cost) {
  constexpr int kMostPasses = 200;
  constexpr double kEnough = 0.001;
  const double diagonal = 0.5 / cost;
  Vector w(rows.width + 1, 0.0);
  Vector alphas(rows.rows(), 0.0);
  Vector squares(rows.rows());
  std::vector<size_t> order(rows.rows());
  std::iota(order.begin(), order.end(), size_t{0});
  for (size_t row = 0; row < rows.rows(); ++row) {
    squares[row] = 1 + diagonal;
    for (uint64_t i = rows.begins[row]; i < rows.begins[row + 1]; ++i) {
      const auto value = static_cast<double>(rows.values[i]);
      squares[row] += value * value;
    }
  }
  for (int pass = 0; pass < kMostPasses; ++pass) {
    double highest = 0;
    double lowest = 0;
    Random random(1, Stream::kBatch, static_cast<uint64_t>(pass));
    for (size_t left = order.size(); left > 0; --left) {
      std::swap(order[left - 1], order[random.below(left)]);
      const size_t row = order[left - 1];
      const double y = labels[row] == of ? 1 : -1;
      double score = 0;
      score_row(rows, row, w, 1, &score);
      const double gradient = y * score - 1 + diagonal * alphas[row];
      const double projected = alphas[row] == 0 ? std::min(gradient, 0.0) : gradient;
      highest = std::max(highest, projected);
      lowest = std::min(lowest, projected);
      if (std::abs(projected) < 1e-12) continue;
      const double next = std::max(alphas[row] - gradient / squares[row], 0.0);
      const double change = (next - alphas[row]) * y;
      alphas[row] = next;
      add_gradient(rows, row, &change, 1, w);
    }
    if (highest - lowest <= kEnough) break;
  }
  return w;
}

}  // namespace

LinearBaseline LinearBaseline::classifier(const SparseRows& rows, std::span<const int32_t> labels,
                                          size_t classes, int iterations, double penalty) {
  LinearBaseline model;
  model.width_ = rows.width;
  model.outputs_ = classes;
  model.classes_ = true;
  model.weights_.assign((rows.width + 1) * classes, 0.0);
  Vector error(classes);
  minimise(
      [&](const Vector& w, Vector& gradient) {
        std::fill(gradient.begin(), gradient.end(), 0.0);
        double value = regularise(w, rows.width * classes, penalty, gradient);
        for (size_t row = 0; row < rows.rows(); ++row) {
          score_row(rows, row, w, classes, error.data());
          const auto label = static_cast<size_t>(labels[row]);
          const double own = error[label];
          value += softmax(std::span(error).first(classes)) - own;
          error[label] -= 1;
          add_gradient(rows, row, error.data(), classes, gradient);
        }
        return value;
      },
      model.weights_, iterations);
  return model;
}

LinearBaseline LinearBaseline::regression(const SparseRows& rows, std::span<const float> targets,
                                          int iterations, double penalty) {
  LinearBaseline model;
  model.width_ = rows.width;
  model.weights_.assign(rows.width + 1, 0.0);
  minimise(
      [&](const Vector& w, Vector& gradient) {
        std::fill(gradient.begin(), gradient.end(), 0.0);
        double value = regularise(w, rows.width, penalty, gradient);
        for (size_t row = 0; row < rows.rows(); ++row) {
          double error = 0;
          score_row(rows, row, w, 1, &error);
          error -= static_cast<double>(targets[row]);
          value += error * error / 2;
          add_gradient(rows, row, &error, 1, gradient);
        }
        return value;
      },
      model.weights_, iterations);
  return model;
}

LinearBaseline LinearBaseline::support_vectors(const SparseRows& rows,
                                               std::span<const int32_t> labels, size_t classes,
                                               double cost) {
  LinearBaseline model;
  model.width_ = rows.width;
  model.outputs_ = classes;
  model.classes_ = true;
  model.weights_.assign((rows.width + 1) * classes, 0.0);
  for (size_t k = 0; k < classes; ++k) {
    const Vector w = one_against_the_rest(rows, labels, static_cast<int32_t>(k), cost);
    for (size_t i = 0; i < w.size(); ++i) model.weights_[i * classes + k] = w[i];
  }
  return model;
}

std::vector<float> LinearBaseline::scores(const SparseRows& rows) const {
  std::vector<float> out;
  out.reserve(rows.rows() * outputs_);
  Vector scores(outputs_);
  for (size_t row = 0; row < rows.rows(); ++row) {
    score_row(rows, row, weights_, outputs_, scores.data());
    for (const double score : scores) out.push_back(static_cast<float>(score));
  }
  return out;
}

std::vector<float> LinearBaseline::predict(const SparseRows& rows) const {
  std::vector<float> out;
  out.reserve(rows.rows() * outputs_);
  Vector scores(outputs_);
  for (size_t row = 0; row < rows.rows(); ++row) {
    score_row(rows, row, weights_, outputs_, scores.data());
    if (classes_) softmax(std::span(scores));
    for (const double score : scores) out.push_back(static_cast<float>(score));
  }
  return out;
}

}  // namespace quern::metrics
