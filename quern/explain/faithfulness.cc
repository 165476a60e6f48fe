#include "quern/explain/faithfulness.h"

#include <algorithm>
#include <numeric>

#include "quern/base/random.h"
#include "quern/explain/attribution.h"
#include "quern/explain/combinatorics.h"
#include "quern/explain/evaluator.h"
#include "quern/explain/moments.h"

namespace quern::explain {
namespace {

/// Values as players turn from `from` to the other state in order.
std::vector<double> curve(Evaluator& evaluator, std::span<const size_t> order, uint8_t from) {
  const double first = from == 1 ? evaluator.value() : evaluator.base();
  const double last = from == 1 ? evaluator.base() : evaluator.value();
  std::vector<uint8_t> flags(order.size(), from);
  std::vector<double> values = {first};
  Coalitions batch(order.size());
  for (size_t i = 0; i + 1 < order.size(); ++i) {
    flags[order[i]] = static_cast<uint8_t>(1 - from);
    batch.add(flags);
    if (batch.count() < Evaluator::kBatch && i + 2 < order.size()) continue;
    const std::vector<double> asked = evaluator(batch);
    values.insert(values.end(), asked.begin(), asked.end());
    batch.clear();
  }
  if (!order.empty()) values.push_back(last);
  return values;
}

/// By trapezoids, over a unit length.
double area(std::span<const double> values) {
  if (values.size() < 2) return values.empty() ? 0 : values.front();
  const double sum =
      std::accumulate(values.begin(), values.end(), 0.0) - (values.front() + values.back()) / 2;
  return sum / static_cast<double>(values.size() - 1);
}

metrics::Interval mean_of(const Moments& moments) {
  const double margin =
      student_t975(static_cast<double>(moments.count() - 1)) * moments.standard_error();
  return {moments.mean(), moments.mean() - margin, moments.mean() + margin};
}

}  // namespace

Faithfulness faithfulness(Game& game, std::span<const size_t> order, uint64_t seed, size_t orders) {
  Evaluator evaluator(game, 0);
  Faithfulness result;
  result.deletion = curve(evaluator, order, 1);
  result.insertion = curve(evaluator, order, 0);
  result.deletion_area = area(result.deletion);
  result.insertion_area = area(result.insertion);
  Moments deletion, insertion, difference;
  for (size_t i = 0; i < std::max<size_t>(orders, 2); ++i) {
    Random random(seed, Stream::kCoalition, i);
    const std::vector<size_t> any = random_order(order.size(), random);
    const double deleted = area(curve(evaluator, any, 1));
    const double inserted = area(curve(evaluator, any, 0));
    deletion.add(deleted);
    insertion.add(inserted);
    difference.add(result.insertion_area - result.deletion_area - (inserted - deleted));
  }
  result.random_deletion = mean_of(deletion);
  result.random_insertion = mean_of(insertion);
  result.advantage = mean_of(difference);
  result.evaluations = evaluator.used();
  return result;
}

}  // namespace quern::explain
