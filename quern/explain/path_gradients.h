#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "quern/explain/attribution.h"

namespace quern::explain {

/// Fills the gradient (n) of a model's answer at x (n), and gives the answer.
using GradientModel = std::function<double(std::span<const double> x, std::span<double> gradient)>;

/// Points and weights of Gauss-Legendre quadrature on [0, 1].
struct Quadrature {
  std::vector<double> points, weights;
};
Quadrature gauss_legendre(size_t points);

/// Integrated gradients (Sundararajan, Taly & Yan 2017): (x - baseline) times the mean gradient on
/// the straight line between them. Complete up to the quadrature, whose error the attribution
/// shows.
Attribution integrated_gradients(const GradientModel& model, std::span<const double> x,
                                 std::span<const double> baseline, size_t points = 50);

}  // namespace quern::explain
