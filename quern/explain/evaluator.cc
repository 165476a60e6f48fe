#include "quern/explain/evaluator.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

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

Evaluator::Evaluator(Game& game, size_t max_evaluations, Reporter* reporter)
    : game_(game),
      players_(game.players()),
      limit_(max_evaluations == 0 ? usual_evaluations(players_) : max_evaluations),
      progress_(reporter, limit_) {
  Coalitions nobody(players_);
  std::vector<size_t> case_of(game.cases());
  std::iota(case_of.begin(), case_of.end(), size_t{0});
  for (size_t i = 0; i < case_of.size(); ++i) nobody.add();
  case_bases_ = in_cases(nobody, case_of);
  base_ = std::accumulate(case_bases_.begin(), case_bases_.end(), 0.0) /
          static_cast<double>(case_bases_.size());
  value_ = base_;
  if (players_ == 0) return;
  Coalitions everybody(players_);
  std::ranges::fill(everybody.add(), uint8_t{1});
  value_ = (*this)(everybody).front();
}

size_t Evaluator::left() const { return interrupted() || used_ >= limit_ ? 0 : limit_ - used_; }

std::vector<double> Evaluator::operator()(const Coalitions& coalitions) {
  std::vector<double> values(coalitions.count());
  game_.evaluate(coalitions, values);
  count(coalitions, values, values.size());
  return values;
}

std::vector<double> Evaluator::in_cases(const Coalitions& coalitions,
                                        std::span<const size_t> case_of) {
  std::vector<double> values(coalitions.count());
  game_.evaluate_cases(coalitions, case_of, values);
  used_cases_ += values.size();
  count(coalitions, values, used_cases_ / cases());
  used_cases_ %= cases();
  return values;
}

void Evaluator::count(const Coalitions& coalitions, std::span<const double> values,
                      size_t evaluations) {
  used_ += evaluations;
  require_finite(coalitions, values);
  progress_.tell(used_);
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
