#include "quern/explain/permutation.h"

#include <algorithm>

#include "quern/base/random.h"
#include "quern/explain/combinatorics.h"
#include "quern/explain/moments.h"

namespace quern::explain {
namespace {

/// The coalitions between nobody and everybody when players join in this order.
void add_walk(std::span<const size_t> order, Coalitions& coalitions) {
  std::vector<uint8_t> present(order.size(), 0);
  for (size_t i = 0; i + 1 < order.size(); ++i) {
    present[order[i]] = 1;
    coalitions.add(present);
  }
}

/// Adds half of each player's contribution along the walk whose inner values are given.
void add_contributions(const Evaluator& evaluator, std::span<const size_t> order,
                       std::span<const double> inner, std::span<double> sums) {
  double before = evaluator.base();
  for (size_t i = 0; i < order.size(); ++i) {
    const double after = i < inner.size() ? inner[i] : evaluator.value();
    sums[order[i]] += 0.5 * (after - before);
    before = after;
  }
}

/// Walks `rounds` pairs, numbered from `first`, and adds what each says of each player.
void walk(Evaluator& evaluator, uint64_t seed, size_t first, size_t rounds,
          std::span<Moments> moments) {
  const size_t players = evaluator.players(), inner = players - 1;
  std::vector<std::vector<size_t>> orders;
  Coalitions coalitions(players);
  for (size_t r = 0; r < rounds; ++r) {
    Random random(seed, Stream::kCoalition, first + r);
    orders.push_back(random_order(players, random));
    add_walk(orders.back(), coalitions);
    orders.emplace_back(orders.back().rbegin(), orders.back().rend());
    add_walk(orders.back(), coalitions);
  }
  const std::vector<double> values = evaluator(coalitions);
  std::vector<double> sums(players);
  for (size_t walk = 0; walk < orders.size(); ++walk) {
    if (walk % 2 == 0) std::ranges::fill(sums, 0.0);
    add_contributions(evaluator, orders[walk], std::span(values).subspan(walk * inner, inner),
                      sums);
    if (walk % 2 == 0) continue;
    for (size_t i = 0; i < players; ++i) moments[i].add(sums[i]);
  }
}

}  // namespace

Attribution permutation(Evaluator& evaluator, const EstimateOptions& options) {
  constexpr size_t kLeastRounds = 2;
  // A spread guessed from fewer pairs ends the search too early too often.
  constexpr size_t kRoundsBeforeStop = 10;
  const size_t players = evaluator.players();
  const size_t cost = 2 * (players - 1);
  const size_t in_batch = std::max<size_t>(1, Evaluator::kBatch / cost);
  std::vector<Moments> moments(players);
  Attribution result = evaluator.start();
  for (size_t done = 0;;) {
    const size_t affordable = evaluator.left() / cost;
    const size_t rounds =
        std::min(in_batch, std::max(affordable, kLeastRounds - std::min(done, kLeastRounds)));
    if (rounds == 0) break;
    walk(evaluator, options.seed, done, rounds, moments);
    done += rounds;
    const double quantile = done < 2 ? 0 : student_t975(static_cast<double>(done - 1));
    for (size_t i = 0; i < players; ++i) {
      result.phi[i] = moments[i].mean();
      result.standard_errors[i] = moments[i].standard_error();
      result.margins[i] = quantile * result.standard_errors[i];
    }
    result.converged = std::ranges::max(result.margins) <= options.tolerance;
    if (options.tolerance > 0 && result.converged && done >= kRoundsBeforeStop) break;
  }
  result.evaluations = evaluator.used();
  return result;
}

}  // namespace quern::explain
