#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "quern/explain/game.h"

namespace quern::explain {

/// Weighted ridge regression with a free intercept on indicators.
struct RidgeFit {
  std::vector<double> coefficients;     // (columns)
  std::vector<double> standard_errors;  // (columns): sandwich (White 1980), scaled by n / (n - p)
  double intercept = 0;
  double r_squared = 0;  // weighted
};
/// Minimises Σ w (y - intercept - x c)² + ridge |c|², x (rows, columns) the flags.
RidgeFit fit_ridge(const Coalitions& x, std::span<const double> y, std::span<const double> weights,
                   double ridge);

}  // namespace quern::explain
