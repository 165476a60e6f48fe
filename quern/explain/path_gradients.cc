#include "quern/explain/path_gradients.h"

#include <cmath>
#include <numbers>

namespace quern::explain {

Quadrature gauss_legendre(size_t points) {
  Quadrature q{std::vector<double>(points), std::vector<double>(points)};
  const double n = static_cast<double>(points);
  for (size_t i = 0; i < points; ++i) {
    // Newton's method from Abramowitz & Stegun 22.16.6.
    double x = std::cos(std::numbers::pi * (static_cast<double>(i) + 0.75) / (n + 0.5));
    double slope = 1;
    for (int step = 0; step < 20; ++step) {
      double before = 1, value = x;  // Legendre polynomials of degrees k - 1 and k
      for (size_t k = 2; k <= points; ++k) {
        const double degree = static_cast<double>(k);
        const double next = ((2 * degree - 1) * x * value - (degree - 1) * before) / degree;
        before = value;
        value = next;
      }
      slope = n * (x * value - before) / (x * x - 1);
      const double move = value / slope;
      x -= move;
      if (std::abs(move) < 1e-16) break;
    }
    q.points[i] = (1 - x) / 2;
    q.weights[i] = 1 / ((1 - x * x) * slope * slope);
  }
  return q;
}

Attribution integrated_gradients(const GradientModel& model, std::span<const double> x,
                                 std::span<const double> baseline, size_t points) {
  const size_t n = x.size();
  Attribution result;
  result.method = "ig";
  result.phi.assign(n, 0);
  result.standard_errors = result.margins = result.phi;
  std::vector<double> at(n), gradient(n);
  result.base = model(baseline, gradient);
  result.value = model(x, gradient);
  const Quadrature q = gauss_legendre(points);
  for (size_t k = 0; k < points; ++k) {
    for (size_t i = 0; i < n; ++i) at[i] = baseline[i] + q.points[k] * (x[i] - baseline[i]);
    model(at, gradient);
    for (size_t i = 0; i < n; ++i) {
      result.phi[i] += q.weights[k] * gradient[i] * (x[i] - baseline[i]);
    }
  }
  result.evaluations = points + 2;
  return result;
}

}  // namespace quern::explain
