#include "quern/explain/evaluator.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "quern/base/error.h"
#include "quern/base/interrupt.h"

namespace quern::explain {

void require_finite(const Coalitions& coalitions, std::span<const double> values) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isfinite(values[i])) continue;
    const auto shown = std::ranges::count(coalitions[i], uint8_t{1});
    throw Error("not_finite",
                fmt::format("the model answers {} when {} of {} parts of the input are shown",
                            values[i], shown, coalitions.players()),
                "a model that gives no finite answer cannot be explained; check its weights and "
                "the input");
  }
}

Evaluator::Evaluator(Game& game, size_t max_evaluations)
    : game_(game),
      players_(game.players()),
      limit_(max_evaluations == 0 ? 2 * players_ + 2048 : max_evaluations) {
  Coalitions ends(players_);
  ends.add();
  if (players_ > 0) std::ranges::fill(ends.add(), uint8_t{1});
  const std::vector<double> values = (*this)(ends);
  base_ = values.front();
  value_ = values.back();
}

size_t Evaluator::left() const { return interrupted() || used_ >= limit_ ? 0 : limit_ - used_; }

std::vector<double> Evaluator::operator()(const Coalitions& coalitions) {
  std::vector<double> values(coalitions.count());
  game_.evaluate(coalitions, values);
  used_ += values.size();
  require_finite(coalitions, values);
  return values;
}

Attribution Evaluator::start() const {
  Attribution result;
  result.base = base_;
  result.value = value_;
  result.evaluations = used_;
  result.phi.assign(players_, 0);
  result.standard_errors.assign(players_, 0);
  result.margins.assign(players_, 0);
  return result;
}

}  // namespace quern::explain
