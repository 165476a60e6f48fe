#include "quern/explain/ridge.h"

#include <algorithm>
#include <cmath>

#include "quern/explain/cholesky.h"

namespace quern::explain {
namespace {

struct Means {
  std::vector<double> x;
  double y = 0, weight = 0;
};

Means weighted_means(const Coalitions& x, std::span<const double> y,
                     std::span<const double> weights) {
  Means means{std::vector<double>(x.players(), 0.0)};
  for (size_t row = 0; row < x.count(); ++row) {
    means.weight += weights[row];
    means.y += weights[row] * y[row];
    for (size_t i = 0; i < x.players(); ++i) means.x[i] += weights[row] * x[row][i];
  }
  means.y /= means.weight;
  for (double& one : means.x) one /= means.weight;
  return means;
}

}  // namespace

RidgeFit fit_ridge(const Coalitions& x, std::span<const double> y, std::span<const double> weights,
                   double ridge) {
  const size_t columns = x.players(), rows = x.count();
  const Means means = weighted_means(x, y, weights);
  std::vector<double> matrix(columns * columns, 0.0), centred(columns);
  RidgeFit fit{std::vector<double>(columns, 0.0), std::vector<double>(columns, 0.0)};
  const auto centre = [&](size_t row) {
    for (size_t i = 0; i < columns; ++i) centred[i] = x[row][i] - means.x[i];
  };
  double spread = 0;
  for (size_t row = 0; row < rows; ++row) {
    centre(row);
    const double dy = y[row] - means.y;
    spread += weights[row] * dy * dy;
    for (size_t i = 0; i < columns; ++i) {
      const double w = weights[row] * centred[i];
      fit.coefficients[i] += w * dy;
      for (size_t j = 0; j <= i; ++j) matrix[i * columns + j] += w * centred[j];
    }
  }
  // A column that never changes has nothing to say; the smallest penalty keeps its place at zero.
  for (size_t i = 0; i < columns; ++i) matrix[i * columns + i] += std::max(ridge, 1e-10);
  const Cholesky cholesky(std::move(matrix), columns);
  cholesky.solve(fit.coefficients);
  fit.intercept = means.y;
  for (size_t i = 0; i < columns; ++i) fit.intercept -= fit.coefficients[i] * means.x[i];

  double left = 0;
  for (size_t row = 0; row < rows; ++row) {
    centre(row);
    double residual = y[row] - means.y;
    for (size_t i = 0; i < columns; ++i) residual -= centred[i] * fit.coefficients[i];
    left += weights[row] * residual * residual;
    for (double& one : centred) one *= weights[row] * residual;
    cholesky.solve(centred);
    for (size_t i = 0; i < columns; ++i) fit.standard_errors[i] += centred[i] * centred[i];
  }
  const double degrees = rows > columns + 1 ? static_cast<double>(rows - columns - 1) : 1;
  for (double& one : fit.standard_errors)
    one = std::sqrt(one * static_cast<double>(rows) / degrees);
  fit.r_squared = spread > 0 ? 1 - left / spread : 1;
  return fit;
}

}  // namespace quern::explain
