#include "quern/explain/game.h"

#include <algorithm>

namespace quern::explain {

std::span<uint8_t> Coalitions::add() {
  ++count_;
  flags_.resize(count_ * players_, 0);
  return {flags_.data() + (count_ - 1) * players_, players_};
}

void Coalitions::add(std::span<const uint8_t> coalition) {
  std::ranges::copy(coalition, add().begin());
}

void Coalitions::clear() {
  count_ = 0;
  flags_.clear();
}

void Game::evaluate_cases(const Coalitions& coalitions, std::span<const size_t> /*case_of*/,
                          std::span<double> values) {
  evaluate(coalitions, values);
}

GroupedGame::GroupedGame(Game& game, std::vector<size_t> group_of)
    : game_(game), group_of_(std::move(group_of)) {
  for (const size_t group : group_of_) groups_ = std::max(groups_, group + 1);
}

Coalitions GroupedGame::ungrouped(const Coalitions& coalitions) const {
  Coalitions whole(group_of_.size());
  for (size_t i = 0; i < coalitions.count(); ++i) {
    const auto flags = whole.add();
    for (size_t player = 0; player < flags.size(); ++player)
      flags[player] = coalitions[i][group_of_[player]];
  }
  return whole;
}

void GroupedGame::evaluate(const Coalitions& coalitions, std::span<double> values) {
  game_.evaluate(ungrouped(coalitions), values);
}

void GroupedGame::evaluate_cases(const Coalitions& coalitions, std::span<const size_t> case_of,
                                 std::span<double> values) {
  game_.evaluate_cases(ungrouped(coalitions), case_of, values);
}

std::vector<double> group_sums(std::span<const double> players, std::span<const size_t> group_of) {
  std::vector<double> sums;
  for (size_t i = 0; i < players.size(); ++i) {
    sums.resize(std::max(sums.size(), group_of[i] + 1), 0.0);
    sums[group_of[i]] += players[i];
  }
  return sums;
}

void FunctionGame::evaluate(const Coalitions& coalitions, std::span<double> values) {
  for (size_t i = 0; i < coalitions.count(); ++i) values[i] = function_(coalitions[i]);
}

void CasesGame::evaluate(const Coalitions& coalitions, std::span<double> values) {
  for (size_t i = 0; i < coalitions.count(); ++i) {
    values[i] = 0;
    for (size_t c = 0; c < cases_; ++c) values[i] += function_(coalitions[i], c);
    values[i] /= static_cast<double>(cases_);
  }
}

void CasesGame::evaluate_cases(const Coalitions& coalitions, std::span<const size_t> case_of,
                               std::span<double> values) {
  for (size_t i = 0; i < coalitions.count(); ++i) values[i] = function_(coalitions[i], case_of[i]);
}

}  // namespace quern::explain
