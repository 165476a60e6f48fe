#include "quern/metrics/regression.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace quern::metrics {
namespace {

double weight(std::span<const float> weights, size_t row) {
  return weights.empty() ? 1.0 : static_cast<double>(weights[row]);
}

struct Sums {
  double weight = 0, absolute = 0, squared = 0, target = 0, spread = 0;
};
Sums sums(const Regressed& r, std::span<const float> weights) {
  Sums s;
  for (size_t i = 0; i < r.rows(); ++i) {
    const double w = weight(weights, i);
    const double error = r.predictions[i] - r.targets[i];
    s.weight += w;
    s.absolute += w * std::abs(error);
    s.squared += w * error * error;
    s.target += w * r.targets[i];
  }
  const double mean = s.target / s.weight;
  for (size_t i = 0; i < r.rows(); ++i) {
    const double difference = r.targets[i] - mean;
    s.spread += weight(weights, i) * difference * difference;
  }
  return s;
}

}  // namespace

double rmse(const Regressed& r, std::span<const float> weights) {
  const Sums s = sums(r, weights);
  return std::sqrt(s.squared / s.weight);
}

double mean_absolute_error(const Regressed& r, std::span<const float> weights) {
  const Sums s = sums(r, weights);
  return s.absolute / s.weight;
}

double r_squared(const Regressed& r, std::span<const float> weights) {
  const Sums s = sums(r, weights);
  return s.spread > 0 ? 1 - s.squared / s.spread : std::numeric_limits<double>::quiet_NaN();
}

std::vector<Score> score_values(const Regressed& r, uint64_t seed) {
  std::vector<Score> scores;
  const auto add = [&](const char* name,
                       double (*score)(const Regressed&, std::span<const float>)) {
    scores.push_back(
        {name, bootstrap(
                   r.rows(), [&](std::span<const float> w) { return score(r, w); }, seed)});
  };
  add("rmse", rmse);
  add("mae", mean_absolute_error);
  add("r2", r_squared);
  return scores;
}

double largest_error(const Regressed& r) {
  double largest = 0;
  for (size_t i = 0; i < r.rows(); ++i)
    largest = std::max(largest, std::abs(r.predictions[i] - r.targets[i]));
  return largest;
}

double conformal_half_width(const Regressed& r, double coverage) {
  std::vector<double> errors;
  for (size_t i = 0; i < r.rows(); ++i) errors.push_back(std::abs(r.predictions[i] - r.targets[i]));
  std::sort(errors.begin(), errors.end());
  const auto rank =
      static_cast<size_t>(std::ceil(static_cast<double>(errors.size() + 1) * coverage));
  if (rank == 0 || rank > errors.size()) return std::numeric_limits<double>::infinity();
  return errors[rank - 1];
}

}  // namespace quern::metrics
