#include "quern/explain/stratified.h"

#include <algorithm>
#include <cmath>

#include "quern/base/random.h"
#include "quern/explain/combinatorics.h"
#include "quern/explain/moments.h"

namespace quern::explain {
namespace {

/// Player and size of one sampled contribution. Sizes 0 and players - 1 have one coalition each,
/// and are asked once.
struct Stratum {
  size_t player, size;
  Moments contributions;
};

/// The coalition without the player, then with.
void draw(const Stratum& stratum, size_t players, Random& random, Coalitions& coalitions) {
  std::vector<uint8_t> others(players - 1);
  random_subset(stratum.size, random, others);
  const auto without = coalitions.add();
  for (size_t i = 0; i < players; ++i) {
    without[i] = i == stratum.player ? 0 : others[i < stratum.player ? i : i - 1];
  }
  const std::vector<uint8_t> copy(without.begin(), without.end());
  const auto with = coalitions.add();
  std::ranges::copy(copy, with.begin());
  with[stratum.player] = 1;
}

void ask(Evaluator& evaluator, std::span<Stratum> strata, uint64_t seed, uint64_t round) {
  Random random(seed, Stream::kCoalition, round);
  const size_t in_batch = Evaluator::kBatch / 2;
  for (size_t begin = 0; begin < strata.size(); begin += in_batch) {
    const auto part = strata.subspan(begin, std::min(in_batch, strata.size() - begin));
    Coalitions coalitions(evaluator.players());
    for (const Stratum& stratum : part) draw(stratum, evaluator.players(), random, coalitions);
    const std::vector<double> values = evaluator(coalitions);
    for (size_t i = 0; i < part.size(); ++i) {
      part[i].contributions.add(values[2 * i + 1] - values[2 * i]);
    }
  }
}

/// Mean contributions to nobody and to everybody else: (players) coalitions each.
void ask_ends(Evaluator& evaluator, std::span<double> phi) {
  const size_t players = evaluator.players();
  Coalitions coalitions(players);
  for (size_t i = 0; i < players; ++i) {
    coalitions.add()[i] = 1;
    const auto rest = coalitions.add();
    std::ranges::fill(rest, uint8_t{1});
    rest[i] = 0;
  }
  const std::vector<double> values = evaluator(coalitions);
  for (size_t i = 0; i < players; ++i) {
    const double ends = values[2 * i] - evaluator.base() + evaluator.value() - values[2 * i + 1];
    phi[i] = ends / static_cast<double>(players);
  }
}

void summarise(std::span<const Stratum> strata, size_t rounds, std::span<const double> ends,
               Attribution& result) {
  const double m = static_cast<double>(result.phi.size());
  std::ranges::copy(ends, result.phi.begin());
  std::vector<double> variances(ends.size(), 0.0), fourth(ends.size(), 0.0);
  for (const Stratum& stratum : strata) {
    result.phi[stratum.player] += stratum.contributions.mean() / m;
    const double variance = std::pow(stratum.contributions.standard_error() / m, 2);
    variances[stratum.player] += variance;
    fourth[stratum.player] += variance * variance;
  }
  for (size_t i = 0; i < variances.size(); ++i) {
    result.standard_errors[i] = std::sqrt(variances[i]);
    // Satterthwaite 1946: the degrees of freedom of a sum of estimated variances.
    const double degrees =
        fourth[i] > 0 ? variances[i] * variances[i] / fourth[i] * static_cast<double>(rounds - 1)
                      : 1;
    result.margins[i] = student_t975(degrees) * result.standard_errors[i];
  }
}

}  // namespace

Attribution stratified(Evaluator& evaluator, const EstimateOptions& options) {
  const size_t players = evaluator.players();
  Attribution result = evaluator.start();
  std::vector<double> ends(players);
  ask_ends(evaluator, ends);
  std::vector<Stratum> strata;
  for (size_t player = 0; player < players; ++player) {
    for (size_t size = 1; size + 1 < players; ++size) strata.push_back({player, size, {}});
  }
  const size_t cost = 2 * strata.size();
  for (size_t round = 0; cost > 0;) {
    if (round >= 2 && evaluator.left() < cost) break;
    ask(evaluator, strata, options.seed, round++);
    if (round < 2) continue;
    summarise(strata, round, ends, result);
    result.converged = std::ranges::max(result.margins) <= options.tolerance;
    if (options.tolerance > 0 && result.converged && round >= 4) break;
  }
  if (cost == 0) {
    result.phi = ends;
    result.exact = true;
  }
  result.evaluations = evaluator.used();
  return result;
}

}  // namespace quern::explain
