#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "quern/metrics/interval.h"

namespace quern::metrics {

/// Predictions and truths of the same rows, in the target's own units.
struct Regressed {
  std::span<const double> predictions, targets;
  size_t rows() const { return targets.size(); }
};

// Weights (rows), empty for all 1.
double rmse(const Regressed& r, std::span<const float> weights = {});
double mean_absolute_error(const Regressed& r, std::span<const float> weights = {});
/// 1 - Σ error² / Σ (target - mean)²; NaN for a constant target.
double r_squared(const Regressed& r, std::span<const float> weights = {});

/// rmse, mae, r2, each with its interval.
std::vector<Score> score_values(const Regressed& r, uint64_t seed);

/// The largest absolute error; 0 of no rows.
double largest_error(const Regressed& r);

/// Half the width of an interval that holds the truth of a new row with probability `coverage`
/// at least, if it is drawn as these were: the ⌈(n + 1) · coverage⌉-th smallest absolute error
/// (split conformal prediction, Lei et al. 2018, algorithm 2). Infinite where there are too few
/// rows.
double conformal_half_width(const Regressed& r, double coverage);

}  // namespace quern::metrics
