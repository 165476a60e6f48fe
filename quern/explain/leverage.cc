#include "quern/explain/leverage.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

#include "quern/explain/cholesky.h"
#include "quern/explain/combinatorics.h"
#include "quern/explain/cube_kernel.h"
#include "quern/explain/pair_sampler.h"

namespace quern::explain {
namespace {

// Differences are exact; this keeps near-linear priors, whose matrices are near singular, solvable.
constexpr double kNugget = 1e-9;

/// One coalition of each pair asked, and how much more it is worth than its complement.
struct Differences {
  Coalitions coalitions;
  std::vector<double> values;

  void add(std::span<const uint8_t> coalition, double difference) {
    coalitions.add(coalition);
    values.push_back(difference);
  }
};

size_t distance(std::span<const uint8_t> a, std::span<const uint8_t> b) {
  size_t sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] ^ b[i];
  return sum;
}

Cholesky factor(const Coalitions& coalitions, size_t count, const CubeKernel& kernel) {
  std::vector<double> matrix(count * count);
  for (size_t row = 0; row < count; ++row) {
    for (size_t column = 0; column <= row; ++column) {
      matrix[row * count + column] =
          kernel.covariance(distance(coalitions[row], coalitions[column]));
    }
    matrix[row * count + row] += kNugget;
  }
  return {std::move(matrix), count};
}

double squared_norm(std::span<const double> x) {
  return std::inner_product(x.begin(), x.end(), x.begin(), 0.0);
}

/// -2 log marginal likelihood of the first `count` differences, their scale at its best, up to a
/// constant.
double misfit(const Differences& d, size_t count, const CubeKernel& kernel) {
  const Cholesky cholesky = factor(d.coalitions, count, kernel);
  std::vector<double> x(d.values.begin(), d.values.begin() + static_cast<std::ptrdiff_t>(count));
  cholesky.solve_lower(x);
  const double n = static_cast<double>(count);
  return n * std::log(squared_norm(x) / n) + cholesky.log_determinant();
}

CubeKernel best_kernel(const Differences& d, size_t players) {
  constexpr std::array kRoughness = {0.1, 0.3, 1.0, 2.0, 4.0, 8.0};
  // A few hundred differences tell the roughness as well as all of them.
  const size_t count = std::min<size_t>(d.values.size(), 256);
  std::optional<CubeKernel> best;
  double least = std::numeric_limits<double>::infinity();
  for (const double roughness : kRoughness) {
    CubeKernel kernel(players, roughness);
    const double found = misfit(d, count, kernel);
    if (best && !(found < least)) continue;
    least = found;
    best = std::move(kernel);
  }
  return *best;
}

/// The scale of the prior by what each difference is off when told from the others, in units of
/// what the prior expects (Rasmussen & Williams 2006, equation 5.12): unlike the likelihood's, it
/// holds for games that are rougher in places than the prior has it.
double scale_of(const Differences& d, const Cholesky& cholesky) {
  std::vector<double> x = d.values;
  cholesky.solve(x);
  const std::vector<double> inverse = cholesky.inverse_diagonal();
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += x[i] * x[i] / inverse[i];
  return sum / static_cast<double>(x.size());
}

/// phi, errors and margins from what is known.
void regress(const Differences& d, Attribution& result) {
  const size_t players = result.phi.size(), n = d.values.size();
  const CubeKernel kernel = best_kernel(d, players);
  const Cholesky cholesky = factor(d.coalitions, n, kernel);
  std::vector<double> whitened = d.values;
  cholesky.solve_lower(whitened);
  const double scale = scale_of(d, cholesky);
  const double quantile = student_t975(static_cast<double>(n));
  std::vector<double> covariances(n);
  for (size_t player = 0; player < players; ++player) {
    for (size_t j = 0; j < n; ++j) {
      const auto coalition = d.coalitions[j];
      const size_t size = static_cast<size_t>(std::ranges::count(coalition, uint8_t{1}));
      covariances[j] = coalition[player] != 0 ? kernel.with_member(size) : kernel.with_other(size);
    }
    cholesky.solve_lower(covariances);
    result.phi[player] =
        std::inner_product(covariances.begin(), covariances.end(), whitened.begin(), 0.0);
    const double left = kernel.variance() - squared_norm(covariances);
    result.standard_errors[player] = std::sqrt(scale * std::max(left, 0.0));
    result.margins[player] = quantile * result.standard_errors[player];
  }
  // What the nugget leaves of the sum.
  const double gap =
      (result.value - result.base - std::accumulate(result.phi.begin(), result.phi.end(), 0.0)) /
      static_cast<double>(players);
  for (double& phi : result.phi) phi += gap;
}

/// The Shapley values when every pair is known.
void enumerate(const Differences& d, Attribution& result) {
  const size_t players = result.phi.size();
  const double m = static_cast<double>(players);
  for (size_t j = 0; j < d.values.size(); ++j) {
    const auto coalition = d.coalitions[j];
    const size_t size = static_cast<size_t>(std::ranges::count(coalition, uint8_t{1}));
    const double s = static_cast<double>(size), of_size = choose(players, size);
    for (size_t i = 0; i < players; ++i) {
      result.phi[i] += d.values[j] / of_size * (coalition[i] != 0 ? 1 / s : -1 / (m - s));
    }
  }
  result.exact = true;
}

}  // namespace

Attribution leverage(Evaluator& evaluator, const EstimateOptions& options) {
  const size_t players = evaluator.players();
  Attribution result = evaluator.start();
  PairSampler sampler(players, options.seed);
  Differences differences{Coalitions(players), {}};
  const std::vector<uint8_t> everybody(players, 1);
  differences.add(everybody, evaluator.value() - evaluator.base());
  // Fewer pairs than players say little of any of them.
  const size_t least = std::min(players + 1, kLeveragePairs);
  const size_t most = std::clamp(evaluator.left() / 2, least, kLeveragePairs);
  size_t target = options.tolerance > 0 ? std::min(std::max(2 * least, size_t{32}), most) : most;
  for (;; target = std::min(2 * target, most)) {
    Coalitions asked(players);
    sampler.draw(target, asked);
    const std::vector<double> values = evaluator(asked);
    for (size_t i = 0; i < asked.count(); i += 2) {
      differences.add(asked[i], values[i] - values[i + 1]);
    }
    result.evaluations = evaluator.used();
    if (sampler.exhausted()) {
      std::ranges::fill(result.phi, 0.0);
      std::ranges::fill(result.standard_errors, 0.0);
      std::ranges::fill(result.margins, 0.0);
      enumerate(differences, result);
      return result;
    }
    regress(differences, result);
    result.converged = std::ranges::max(result.margins) <= options.tolerance;
    if (result.converged || target >= most || evaluator.left() == 0) return result;
  }
}

}  // namespace quern::explain
