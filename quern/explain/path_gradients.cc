#include "quern/explain/path_gradients.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "quern/base/error.h"
#include "quern/base/interrupt.h"
#include "quern/base/random.h"
#include "quern/explain/moments.h"

namespace quern::explain {
namespace {

Attribution start(size_t players) {
  Attribution result;
  result.phi.assign(players, 0);
  result.standard_errors = result.margins = result.phi;
  return result;
}

std::vector<double> mean_of(const std::vector<std::vector<float>>& rows) {
  std::vector<double> mean(rows.front().size(), 0.0);
  for (const std::vector<float>& row : rows) {
    for (size_t i = 0; i < mean.size(); ++i) mean[i] += static_cast<double>(row[i]);
  }
  for (double& one : mean) one /= static_cast<double>(rows.size());
  return mean;
}

/// How many samples a limit leaves beside `ends` other evaluations.
size_t samples_within(const EstimateOptions& options, size_t ends, size_t least, size_t usual) {
  if (options.max_evaluations == 0) return usual;
  if (options.max_evaluations >= ends + least) return options.max_evaluations - ends;
  throw UsageError("too_few_evaluations",
                   fmt::format("--max-evals {}: method '{}' takes at least {} evaluations",
                               options.max_evaluations, method_name(options.method), ends + least),
                   fmt::format("give --max-evals {} or more", ends + least));
}

/// Coordinates to players.
Attribution gathered(Attribution found, const Path& path) {
  std::vector<double> phi(path.players, 0.0);
  path.gather(found.phi, phi);
  found.phi = std::move(phi);
  found.standard_errors.assign(path.players, 0);
  found.margins = found.standard_errors;
  return found;
}

}  // namespace

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
  Attribution result = start(n);
  result.method = "ig";
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

Attribution input_gradient(const GradientModel& model, std::span<const double> x,
                           std::span<const double> baseline) {
  Attribution result = start(x.size());
  result.method = "gradient";
  std::vector<double> gradient(x.size());
  result.base = model(baseline, gradient);
  result.value = model(x, gradient);
  for (size_t i = 0; i < x.size(); ++i) result.phi[i] = gradient[i] * (x[i] - baseline[i]);
  result.evaluations = 2;
  return result;
}

Attribution expected_gradients(const GradientModel& model, const Path& path, size_t samples,
                               const EstimateOptions& options) {
  constexpr size_t kLeast = 32;  // before a tolerance is held to be met
  Attribution result = start(path.players);
  result.method = "eg";
  const size_t n = path.x.size();
  std::vector<double> at(n), gradient(n), players(path.players);
  for (const std::vector<float>& baseline : path.baselines) {
    std::ranges::copy(baseline, at.begin());
    result.base += model(at, gradient) / static_cast<double>(path.baselines.size());
  }
  result.value = model(path.x, gradient);
  std::vector<Moments> moments(path.players);
  size_t done = 0;
  for (; done < samples && !(interrupted() && done >= 2); ++done) {
    Random random(options.seed, Stream::kCoalition, done);
    const std::vector<float>& baseline = path.baselines[random.below(path.baselines.size())];
    const double alpha = random.uniform();
    for (size_t i = 0; i < n; ++i) {
      const auto b = static_cast<double>(baseline[i]);
      at[i] = b + alpha * (path.x[i] - b);
    }
    model(at, gradient);
    for (size_t i = 0; i < n; ++i) gradient[i] *= path.x[i] - static_cast<double>(baseline[i]);
    std::ranges::fill(players, 0.0);
    path.gather(gradient, players);
    for (size_t i = 0; i < players.size(); ++i) moments[i].add(players[i]);
    if (options.tolerance <= 0 || done + 1 < kLeast) continue;
    const double quantile = student_t975(static_cast<double>(done));
    if (std::ranges::all_of(moments, [&](const Moments& one) {
          return quantile * one.standard_error() <= options.tolerance;
        })) {
      ++done;
      break;
    }
  }
  for (size_t i = 0; i < players.size(); ++i) {
    result.phi[i] = moments[i].mean();
    result.standard_errors[i] = moments[i].standard_error();
    result.margins[i] = student_t975(static_cast<double>(done - 1)) * result.standard_errors[i];
  }
  result.converged = std::ranges::all_of(
      result.margins, [&](double margin) { return margin <= options.tolerance; });
  result.evaluations = done + path.baselines.size() + 1;
  return result;
}

namespace {

/// Integrated gradients with as many points as allowed; without a limit 50, and twice as many again
/// while the completeness error is above the tolerance, or a hundredth of what is explained.
Attribution integrated(const GradientModel& model, const Path& path,
                       const EstimateOptions& options) {
  constexpr size_t kPoints = 50, kMostPoints = 800;
  const std::vector<double> from = mean_of(path.baselines);
  const size_t first = samples_within(options, 2, 1, kPoints);
  const size_t most = options.max_evaluations > 0 ? first : kMostPoints;
  size_t spent = 0;
  for (size_t points = first;; points *= 2) {
    Attribution result = integrated_gradients(model, path.x, from, points);
    result.evaluations += spent;
    spent = result.evaluations;
    const double bound =
        options.tolerance > 0 ? options.tolerance : std::abs(result.value - result.base) / 100;
    result.converged = result.completeness_error() <= bound;
    if (result.converged || 2 * points > most || interrupted()) return result;
  }
}

}  // namespace

Attribution path_attribution(const GradientModel& model, const Path& path,
                             const EstimateOptions& options) {
  Attribution result;
  if (options.method == Method::kExpectedGradients) {
    constexpr size_t kSamples = 200;
    result = expected_gradients(
        model, path, samples_within(options, path.baselines.size() + 1, 2, kSamples), options);
  } else if (options.method == Method::kGradient) {
    samples_within(options, 2, 0, 0);
    result = gathered(input_gradient(model, path.x, mean_of(path.baselines)), path);
  } else {
    result = gathered(integrated(model, path, options), path);
  }
  result.reason = "asked for";
  result.base_is = options.method == Method::kExpectedGradients ? "for baselines, in the mean,"
                                                                : "for the baseline";
  result.seed = options.seed;
  return result;
}

}  // namespace quern::explain
