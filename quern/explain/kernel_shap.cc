#include "quern/explain/kernel_shap.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "quern/base/random.h"
#include "quern/explain/cholesky.h"
#include "quern/explain/combinatorics.h"

namespace quern::explain {
namespace {

/// One of each complement pair asked, its weight in the regression, how much more it is worth than
/// its complement, and whether it was drawn.
struct Pairs {
  Coalitions coalitions;
  std::vector<double> weights, differences;
  size_t enumerated = 0;  // the first so many; the others were drawn
};

/// Appends the coalitions of a size in lexical order; of half the players, those with player 0.
void enumerate_size(size_t players, size_t size, Coalitions& coalitions) {
  std::vector<uint8_t> flags(players, 0);
  std::fill_n(flags.begin(), size, uint8_t{1});
  do {
    if (2 * size == players && flags[0] == 0) break;
    coalitions.add(flags);
  } while (std::ranges::prev_permutation(flags).found);
}

double pairs_of(size_t players, size_t size) {
  return choose(players, size) / (2 * size == players ? 2 : 1);
}

/// Chooses whom to ask: whole sizes while the rest of the budget would, in the mean, draw them
/// whole.
Pairs choose_pairs(size_t players, size_t budget, uint64_t seed) {
  std::vector<double> mass = kernel_size_mass(players);  // of size and complement together
  mass.resize(players / 2);
  for (size_t k = 1; k <= mass.size(); ++k) mass[k - 1] *= 2 * k == players ? 1 : 2;
  Pairs pairs{Coalitions(players), {}, {}, 0};
  size_t size = 1;
  double left = 1;
  for (; size <= mass.size(); ++size) {
    const double count = pairs_of(players, size);
    const double expected =
        static_cast<double>(budget - pairs.coalitions.count()) * mass[size - 1] / left;
    if (count > expected * (1 + 1e-9)) break;
    enumerate_size(players, size, pairs.coalitions);
    pairs.weights.resize(pairs.coalitions.count(), mass[size - 1] / count);
    left -= mass[size - 1];
  }
  pairs.enumerated = pairs.coalitions.count();
  const size_t drawn = size > mass.size() ? 0 : budget - pairs.enumerated;
  Random random(seed, Stream::kCoalition);
  std::vector<uint8_t> flags(players);
  for (size_t i = 0; i < drawn; ++i) {
    double at = random.uniform() * left;
    size_t k = size;
    while (k < mass.size() && at >= mass[k - 1]) at -= mass[k++ - 1];
    random_subset(k, random, flags);
    pairs.coalitions.add(flags);
    pairs.weights.push_back(left / static_cast<double>(drawn));
  }
  return pairs;
}

void ask(Evaluator& evaluator, Pairs& pairs) {
  const size_t players = evaluator.players();
  Coalitions batch(players);
  for (size_t i = 0; i < pairs.coalitions.count(); ++i) {
    const auto coalition = pairs.coalitions[i];
    batch.add(coalition);
    std::ranges::transform(coalition, batch.add().begin(),
                           [](uint8_t flag) { return static_cast<uint8_t>(1 - flag); });
    if (batch.count() < Evaluator::kBatch && i + 1 < pairs.coalitions.count()) continue;
    const std::vector<double> values = evaluator(batch);
    for (size_t j = 0; j < values.size(); j += 2) {
      pairs.differences.push_back(values[j] - values[j + 1]);
    }
    batch.clear();
  }
}

double sign(uint8_t flag) { return flag != 0 ? 1.0 : -1.0; }

/// The factor of Σ w s sᵀ, s the signs of a pair's members; the direction of all ones is added, so
/// that few pairs have an answer too: the constraint fixes it anyway.
Cholesky normal_matrix(const Pairs& pairs, size_t players) {
  std::vector<double> matrix(players * players, 1.0);
  for (size_t j = 0; j < pairs.weights.size(); ++j) {
    const auto coalition = pairs.coalitions[j];
    for (size_t row = 0; row < players; ++row) {
      const double w = pairs.weights[j] * sign(coalition[row]);
      for (size_t column = 0; column <= row; ++column) {
        matrix[row * players + column] += w * sign(coalition[column]);
      }
    }
  }
  for (size_t i = 0; i < players; ++i) matrix[i * players + i] += 1e-12;
  return {std::move(matrix), players};
}

/// x less what of the all-ones solution makes its sum `total`.
void constrain(std::span<double> x, std::span<const double> ones, double total) {
  const double excess =
      std::accumulate(x.begin(), x.end(), -total) / std::accumulate(ones.begin(), ones.end(), 0.0);
  for (size_t i = 0; i < x.size(); ++i) x[i] -= excess * ones[i];
}

void solve(const Pairs& pairs, Attribution& result) {
  const size_t players = result.phi.size(), n = pairs.weights.size();
  const Cholesky cholesky = normal_matrix(pairs, players);
  std::vector<double> ones(players, 1.0);
  cholesky.solve(ones);
  for (size_t j = 0; j < n; ++j) {
    for (size_t i = 0; i < players; ++i) {
      result.phi[i] += pairs.weights[j] * pairs.differences[j] * sign(pairs.coalitions[j][i]);
    }
  }
  const double total = result.value - result.base;
  for (double& one : result.phi) one += total;  // the added direction's own right side
  cholesky.solve(result.phi);
  constrain(result.phi, ones, total);
  const size_t drawn = n - pairs.enumerated;
  result.exact = drawn == 0;
  if (drawn == 0) return;
  // Linearised: phi moves by A⁻¹ s w r for each pair drawn, r its residual; of so many draws as
  // many degrees of freedom are spent as there are players.
  std::vector<double> squares(players, 0.0), move(players);
  for (size_t j = pairs.enumerated; j < n; ++j) {
    double residual = pairs.differences[j];
    for (size_t i = 0; i < players; ++i) residual -= result.phi[i] * sign(pairs.coalitions[j][i]);
    for (size_t i = 0; i < players; ++i) {
      move[i] = pairs.weights[j] * residual * sign(pairs.coalitions[j][i]);
    }
    cholesky.solve(move);
    constrain(move, ones, 0);
    for (size_t i = 0; i < players; ++i) squares[i] += move[i] * move[i];
  }
  const double degrees = n > players ? static_cast<double>(n - players) : 1;
  const double inflate = static_cast<double>(n) / degrees, quantile = student_t975(degrees);
  for (size_t i = 0; i < players; ++i) {
    result.standard_errors[i] = std::sqrt(squares[i] * inflate);
    result.margins[i] = quantile * result.standard_errors[i];
  }
}

}  // namespace

std::vector<double> kernel_size_mass(size_t players) {
  std::vector<double> mass(players - 1);
  for (size_t k = 1; k < players; ++k) {
    mass[k - 1] = static_cast<double>(players - 1) / static_cast<double>(k * (players - k));
  }
  const double sum = std::accumulate(mass.begin(), mass.end(), 0.0);
  for (double& one : mass) one /= sum;
  return mass;
}

Attribution kernel_shap(Evaluator& evaluator, const EstimateOptions& options) {
  const size_t players = evaluator.players();
  const Attribution start = evaluator.start();
  const size_t most = std::max(evaluator.left() / 2, players + 1);
  size_t budget = options.tolerance > 0 ? std::min(2 * players + 64, most) : most;
  // A larger budget asks whole sizes that a smaller one drew from: its draws are made afresh.
  for (;; budget = std::min(2 * budget, std::max(evaluator.left() / 2, size_t{1}))) {
    Attribution result = start;
    Pairs pairs = choose_pairs(players, budget, options.seed);
    ask(evaluator, pairs);
    solve(pairs, result);
    result.evaluations = evaluator.used();
    result.converged = std::ranges::max(result.margins) <= options.tolerance;
    if (result.converged || evaluator.left() / 2 < budget) return result;
  }
}

}  // namespace quern::explain
