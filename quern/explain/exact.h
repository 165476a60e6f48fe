#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "quern/explain/evaluator.h"

namespace quern::explain {

/// Players of a game that is asked about every coalition: 2^20 values are 8 MB.
inline constexpr size_t kExactPlayers = 20;

/// The value of every coalition (2^players), player i in bit i of the index. A UsageError for more
/// than kExactPlayers says how many evaluations that would be.
std::vector<double> all_values(Evaluator& evaluator);

/// Shapley values (players) of a game given by all_values (Shapley 1953).
std::vector<double> shapley(std::span<const double> values, size_t players);
/// Banzhaf values (players): the mean contribution to the coalitions of the others (Banzhaf 1965).
std::vector<double> banzhaf(std::span<const double> values, size_t players);

}  // namespace quern::explain
