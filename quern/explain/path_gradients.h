#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "quern/explain/attribution.h"
#include "quern/explain/estimate.h"

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

/// Input times gradient (Shrikumar, Greenside & Kundaje 2017): (x - baseline) times the gradient at
/// x, which is complete for linear models only; the attribution shows what is missing.
Attribution input_gradient(const GradientModel& model, std::span<const double> x,
                           std::span<const double> baseline);

/// A path from one of several baselines to an input, whose coordinates are parts of players.
struct Path {
  std::vector<double> x;
  std::vector<std::vector<float>> baselines;  // one at least
  size_t players = 0;
  /// Adds up what coordinates contribute, by player.
  std::function<void(std::span<const double> coordinates, std::span<double> players)> gather;
};

/// Expected gradients (Erion et al. 2021): the mean of (x - baseline) times the gradient at a
/// random place between x and a random baseline, with its standard error; the base is the mean
/// answer to the baselines. Ends early at the tolerance.
Attribution expected_gradients(const GradientModel& model, const Path& path, size_t samples,
                               const EstimateOptions& options);

/// The method that `options` name, by player: kIntegratedGradients and kGradient start from the
/// mean of the baselines. Evaluations count gradients and the answers at the ends. Throws
/// UsageError("too_few_evaluations").
Attribution path_attribution(const GradientModel& model, const Path& path,
                             const EstimateOptions& options);

}  // namespace quern::explain
