#include "quern/explain/exact.h"

#include <fmt/format.h>

#include <bit>

#include "quern/base/error.h"

namespace quern::explain {
namespace {

/// Σ over the coalitions S without a player of weights[|S|] · (v(S with it) - v(S)), for each.
std::vector<double> weighted_contributions(std::span<const double> values, size_t players,
                                           std::span<const double> weights) {
  std::vector<double> sums(players, 0.0);
  for (size_t player = 0; player < players; ++player) {
    const size_t bit = size_t{1} << player;
    for (size_t s = 0; s < values.size(); ++s) {
      if ((s & bit) != 0) continue;
      sums[player] +=
          weights[static_cast<size_t>(std::popcount(s))] * (values[s | bit] - values[s]);
    }
  }
  return sums;
}

}  // namespace

std::vector<double> all_values(Evaluator& evaluator) {
  const size_t players = evaluator.players();
  if (players > kExactPlayers) {
    throw UsageError(
        "too_many_players",
        fmt::format("an exact answer for {} players takes 2^{} evaluations", players, players),
        "use --method owen, or a sampling method with --tol");
  }
  const size_t count = size_t{1} << players;
  std::vector<double> values;
  values.reserve(count);
  values.push_back(evaluator.base());
  Coalitions batch(players);
  for (size_t s = 1; s + 1 < count; ++s) {
    const auto coalition = batch.add();
    for (size_t i = 0; i < players; ++i) coalition[i] = static_cast<uint8_t>((s >> i) & 1);
    if (batch.count() < Evaluator::kBatch && s + 2 < count) continue;
    const std::vector<double> asked = evaluator(batch);
    values.insert(values.end(), asked.begin(), asked.end());
    batch.clear();
  }
  if (players > 0) values.push_back(evaluator.value());
  return values;
}

std::vector<double> shapley(std::span<const double> values, size_t players) {
  std::vector<double> weights(players);  // |S|! (players - |S| - 1)! / players!
  double choose = 1;                     // of |S| among the others
  for (size_t size = 0; size < players; ++size) {
    weights[size] = 1 / (static_cast<double>(players) * choose);
    choose *= static_cast<double>(players - 1 - size) / static_cast<double>(size + 1);
  }
  return weighted_contributions(values, players, weights);
}

std::vector<double> banzhaf(std::span<const double> values, size_t players) {
  const std::vector<double> weights(players, 2.0 / static_cast<double>(values.size()));
  return weighted_contributions(values, players, weights);
}

}  // namespace quern::explain
