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

void FunctionGame::evaluate(const Coalitions& coalitions, std::span<double> values) {
  for (size_t i = 0; i < coalitions.count(); ++i) values[i] = function_(coalitions[i]);
}

}  // namespace quern::explain
