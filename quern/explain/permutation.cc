#include "quern/explain/permutation.h"

#include <algorithm>
#include <cmath>

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

/// Adds half of each player's contribution along the walk whose inner values are given, between
/// the values of nobody and of everybody.
void add_contributions(double base, double value, std::span<const size_t> order,
                       std::span<const double> inner, std::span<double> sums) {
  double before = base;
  for (size_t i = 0; i < order.size(); ++i) {
    const double after = i < inner.size() ? inner[i] : value;
    sums[order[i]] += 0.5 * (after - before);
    before = after;
  }
}

/// What pairs of walks say of each player, by case.
class Walks {
 public:
  explicit Walks(Evaluator& evaluator)
      : evaluator_(evaluator), moments_(evaluator.cases() * evaluator.players()) {}

  /// Makes `rounds` pairs of walks in every case, numbered from `first`.
  void walk(uint64_t seed, size_t first, size_t rounds);
  /// phi, errors and margins from what is known.
  void tell(Attribution& result) const;

 private:
  void walk_pairs(uint64_t seed, size_t first, size_t pairs);

  Evaluator& evaluator_;
  std::vector<Moments> moments_;  // (cases, players)
};

void Walks::walk(uint64_t seed, size_t first, size_t rounds) {
  // Never cases × players × players at a time: a batch of coalitions is enough to ask.
  const size_t most = std::max<size_t>(1, 8 * Evaluator::kBatch / (2 * (evaluator_.players() - 1)));
  const size_t begin = first * evaluator_.cases(), end = begin + rounds * evaluator_.cases();
  for (size_t pair = begin; pair < end; pair += most)
    walk_pairs(seed, pair, std::min(most, end - pair));
}

void Walks::walk_pairs(uint64_t seed, size_t first, size_t pairs) {
  const size_t players = evaluator_.players(), inner = players - 1, cases = evaluator_.cases();
  std::vector<std::vector<size_t>> orders;
  Coalitions coalitions(players);
  std::vector<size_t> case_of;
  for (size_t pair = first; pair < first + pairs; ++pair) {
    Random random(seed, Stream::kCoalition, pair);
    orders.push_back(random_order(players, random));
    add_walk(orders.back(), coalitions);
    orders.emplace_back(orders.back().rbegin(), orders.back().rend());
    add_walk(orders.back(), coalitions);
    case_of.insert(case_of.end(), 2 * inner, pair % cases);
  }
  const std::vector<double> values = evaluator_.in_cases(coalitions, case_of);
  std::vector<double> sums(players);
  for (size_t walk = 0; walk < orders.size(); ++walk) {
    const size_t in_case = case_of[walk * inner];
    if (walk % 2 == 0) std::ranges::fill(sums, 0.0);
    add_contributions(evaluator_.case_bases()[in_case], evaluator_.value(), orders[walk],
                      std::span(values).subspan(walk * inner, inner), sums);
    if (walk % 2 == 0) continue;
    for (size_t i = 0; i < players; ++i) moments_[in_case * players + i].add(sums[i]);
  }
}

void Walks::tell(Attribution& result) const {
  const size_t players = result.phi.size(), cases = moments_.size() / players;
  const auto count = static_cast<double>(cases);
  for (size_t i = 0; i < players; ++i) {
    double sum = 0, squares = 0, squared_squares = 0;
    for (size_t c = 0; c < cases; ++c) {
      const Moments& m = moments_[c * players + i];
      const double square = m.standard_error() * m.standard_error();
      sum += m.mean();
      squares += square;
      squared_squares += square * square;
    }
    const auto freedom = static_cast<double>(moments_[i].count() - 1);
    result.phi[i] = sum / count;
    result.standard_errors[i] = std::sqrt(squares) / count;
    result.margins[i] = squares > 0 ? student_t975(freedom * squares * squares / squared_squares) *
                                          result.standard_errors[i]
                                    : 0;
  }
}

}  // namespace

Attribution permutation(Evaluator& evaluator, const EstimateOptions& options) {
  constexpr size_t kLeastRounds = 2;
  // A spread guessed from fewer pairs ends the search too early too often.
  constexpr size_t kPairsBeforeStop = 10;
  const size_t players = evaluator.players(), cases = evaluator.cases();
  const size_t cost = 2 * (players - 1);
  const size_t in_batch = std::max<size_t>(1, Evaluator::kBatch / (cost * cases));
  Walks walks(evaluator);
  Attribution result = evaluator.start();
  for (size_t done = 0;;) {
    const size_t affordable = evaluator.left() / cost;
    const size_t rounds =
        std::min(in_batch, std::max(affordable, kLeastRounds - std::min(done, kLeastRounds)));
    if (rounds == 0) break;
    walks.walk(options.seed, done, rounds);
    done += rounds;
    if (done < kLeastRounds) continue;
    walks.tell(result);
    result.converged = std::ranges::max(result.margins) <= options.tolerance;
    const bool trusted = done * cases >= kPairsBeforeStop;
    if (options.tolerance > 0 && result.converged && trusted) break;
  }
  result.evaluations = evaluator.used();
  return result;
}

}  // namespace quern::explain
