#include "quern/kernels/reference/muon.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace quern::kernels::reference {
namespace {

/// Rows by columns, row-major.
struct Matrix {
  size_t rows, columns;
  std::vector<double> values;
  Matrix(size_t r, size_t c) : rows(r), columns(c), values(r * c) {}
  double& at(size_t i, size_t j) { return values[i * columns + j]; }
  double at(size_t i, size_t j) const { return values[i * columns + j]; }
};

Matrix transpose(const Matrix& a) {
  Matrix result(a.columns, a.rows);
  for (size_t i = 0; i < a.rows; ++i) {
    for (size_t j = 0; j < a.columns; ++j) result.at(j, i) = a.at(i, j);
  }
  return result;
}

Matrix multiply(const Matrix& a, const Matrix& b) {
  Matrix result(a.rows, b.columns);
  for (size_t i = 0; i < a.rows; ++i) {
    for (size_t k = 0; k < a.columns; ++k) {
      for (size_t j = 0; j < b.columns; ++j) result.at(i, j) += a.at(i, k) * b.at(k, j);
    }
  }
  return result;
}

/// X ← aX + b(XXᵀ)X + c(XXᵀ)²X, five times, from X of norm 1 (Jordan et al. 2024).
Matrix newton_schulz(Matrix x) {
  double norm = 0;
  for (const double value : x.values) norm += value * value;
  if (norm == 0) return x;
  for (double& value : x.values) value /= std::sqrt(norm);
  for (int step = 0; step < 5; ++step) {
    const Matrix gram = multiply(x, transpose(x));
    const Matrix once = multiply(gram, x);
    const Matrix twice = multiply(gram, once);
    for (size_t i = 0; i < x.values.size(); ++i)
      x.values[i] = 3.4445 * x.values[i] - 4.7750 * once.values[i] + 2.0315 * twice.values[i];
  }
  return x;
}

}  // namespace

void muon(const cpu::MuonStep& step, float weight_decay, int64_t rows, int64_t columns,
          const float* gradient, float* parameter, float* momentum) {
  const double beta = static_cast<double>(step.momentum);
  const double rate = static_cast<double>(step.learning_rate);
  Matrix x(static_cast<size_t>(rows), static_cast<size_t>(columns));
  for (size_t i = 0; i < x.values.size(); ++i) {
    const double g = static_cast<double>(step.gradient_scale) * static_cast<double>(gradient[i]);
    const double m = beta * static_cast<double>(momentum[i]) + (1 - beta) * g;
    momentum[i] = static_cast<float>(m);
    x.values[i] = step.nesterov ? (1 - beta) * g + beta * m : m;
  }
  const bool tall = rows > columns;
  x = newton_schulz(tall ? transpose(x) : x);
  if (tall) x = transpose(x);
  const double scale = 0.2 * std::sqrt(static_cast<double>(std::max(rows, columns)));
  for (size_t i = 0; i < x.values.size(); ++i) {
    const double decayed =
        static_cast<double>(parameter[i]) * (1 - rate * static_cast<double>(weight_decay));
    parameter[i] = static_cast<float>(decayed - rate * scale * x.values[i]);
  }
}

}  // namespace quern::kernels::reference
