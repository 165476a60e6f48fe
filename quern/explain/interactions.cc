#include "quern/explain/interactions.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>

#include "quern/base/error.h"
#include "quern/base/random.h"
#include "quern/explain/combinatorics.h"
#include "quern/explain/evaluator.h"
#include "quern/explain/exact.h"
#include "quern/explain/moments.h"

namespace quern::explain {
namespace {

struct Pair {
  size_t a, b;
  Moments differences;
};

double exact_index(std::span<const double> values, size_t players, size_t a, size_t b) {
  const size_t bit_a = size_t{1} << a, bit_b = size_t{1} << b;
  double sum = 0;
  for (size_t s = 0; s < values.size(); ++s) {
    if ((s & (bit_a | bit_b)) != 0) continue;
    const double weight = 1 / (static_cast<double>(players - 1) *
                               choose(players - 2, static_cast<size_t>(std::popcount(s))));
    sum += weight * (values[s | bit_a | bit_b] - values[s | bit_a] - values[s | bit_b] + values[s]);
  }
  return sum;
}

/// A random coalition of the others, then with a, with b, with both.
void draw(const Pair& pair, size_t players, Random& random, Coalitions& coalitions) {
  std::vector<uint8_t> others(players - 2), flags(players, 0);
  random_subset(random.below(players - 1), random, others);
  for (size_t i = 0, next = 0; i < players; ++i) {
    if (i != pair.a && i != pair.b) flags[i] = others[next++];
  }
  for (const auto& [with_a, with_b] : {std::pair{0, 0}, {1, 0}, {0, 1}, {1, 1}}) {
    flags[pair.a] = static_cast<uint8_t>(with_a);
    flags[pair.b] = static_cast<uint8_t>(with_b);
    coalitions.add(flags);
  }
}

void ask(Evaluator& evaluator, std::span<Pair> pairs, Random& random) {
  constexpr size_t kInBatch = Evaluator::kBatch / 4;
  for (size_t begin = 0; begin < pairs.size(); begin += kInBatch) {
    const auto part = pairs.subspan(begin, std::min(kInBatch, pairs.size() - begin));
    Coalitions coalitions(evaluator.players());
    for (const Pair& pair : part) draw(pair, evaluator.players(), random, coalitions);
    const std::vector<double> v = evaluator(coalitions);
    for (size_t i = 0; i < part.size(); ++i) {
      part[i].differences.add(v[4 * i + 3] - v[4 * i + 2] - v[4 * i + 1] + v[4 * i]);
    }
  }
}

void sample(Evaluator& evaluator, std::span<Pair> pairs, const EstimateOptions& options) {
  for (size_t round = 0;; ++round) {
    if (round >= 2 && evaluator.left() < 4 * pairs.size()) return;
    Random random(options.seed, Stream::kCoalition, round);
    ask(evaluator, pairs, random);
    if (options.tolerance <= 0 || round < 9) continue;
    const double quantile = student_t975(static_cast<double>(round));
    if (std::ranges::all_of(pairs, [&](const Pair& pair) {
          return quantile * pair.differences.standard_error() <= options.tolerance;
        })) {
      return;
    }
  }
}

void require_evaluations(size_t players, size_t limit) {
  if (limit == 0 || players < 2) return;
  size_t least = 4 * players * (players - 1) + 2;  // two draws of four for each pair, and the ends
  if (players <= kExactPlayers) least = std::min(least, size_t{1} << players);
  if (limit >= least) return;
  throw UsageError("too_few_evaluations",
                   fmt::format("--max-evals {}: interactions of {} parts take at least {}", limit,
                               players, least),
                   fmt::format("give --max-evals {} or more", least));
}

void write(const Pair& pair, double value, Interactions& result) {
  const double error = pair.differences.standard_error();
  const size_t count = pair.differences.count();
  const double quantile = count < 2 ? 0 : student_t975(static_cast<double>(count - 1));
  for (const size_t at : {pair.a * result.players + pair.b, pair.b * result.players + pair.a}) {
    result.index[at] = value;
    result.standard_errors[at] = error;
    result.margins[at] = quantile * error;
  }
}

}  // namespace

std::vector<double> Interactions::shared_out(const std::vector<double>& phi) const {
  std::vector<double> result(players * players);
  for (size_t a = 0; a < players; ++a) {
    result[a * players + a] = phi[a];
    for (size_t b = 0; b < players; ++b) {
      if (a == b) continue;
      result[a * players + b] = at(a, b) / 2;
      result[a * players + a] -= at(a, b) / 2;
    }
  }
  return result;
}

std::vector<std::pair<size_t, size_t>> Interactions::strongest(size_t most) const {
  std::vector<std::pair<size_t, size_t>> pairs;
  for (size_t a = 0; a < players; ++a)
    for (size_t b = a + 1; b < players; ++b) pairs.emplace_back(a, b);
  std::ranges::stable_sort(pairs, std::greater(), [this](const auto& pair) {
    return std::abs(at(pair.first, pair.second));
  });
  pairs.resize(std::min(most, pairs.size()));
  return pairs;
}

Interactions interactions(Game& game, const EstimateOptions& options) {
  require_evaluations(game.players(), options.max_evaluations);
  Evaluator evaluator(game, options.max_evaluations, options.reporter);
  const size_t players = evaluator.players();
  Interactions result;
  result.players = players;
  result.index.assign(players * players, 0);
  result.standard_errors = result.margins = result.index;
  std::vector<Pair> pairs;
  for (size_t a = 0; a < players; ++a) {
    for (size_t b = a + 1; b < players; ++b) pairs.push_back({a, b, {}});
  }
  result.exact = pairs.empty() || options.method == Method::kExact ||
                 (players <= kExactPlayers && (size_t{1} << players) <= evaluator.left() + 2);
  if (result.exact) {
    const std::vector<double> values = all_values(evaluator);
    for (const Pair& pair : pairs)
      write(pair, exact_index(values, players, pair.a, pair.b), result);
  } else {
    sample(evaluator, pairs, options);
    for (const Pair& pair : pairs) write(pair, pair.differences.mean(), result);
  }
  result.evaluations = evaluator.used();
  return result;
}

}  // namespace quern::explain
