#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "quern/explain/estimate.h"
#include "quern/explain/game.h"

namespace quern::explain {

/// What pairs of players contribute beyond their parts: the Shapley interaction index (Grabisch &
/// Roubens 1999, definition 4).
struct Interactions {
  size_t players = 0;
  std::vector<double> index;            // (players, players), symmetric; 0 on the diagonal
  std::vector<double> standard_errors;  // (players, players), 0 where nothing was sampled
  std::vector<double> margins;          // (players, players), half the width of the 95 % interval
  size_t evaluations = 0;
  bool exact = false;

  double at(size_t a, size_t b) const { return index[a * players + b]; }
  /// Pairs a < b by falling size of their interaction, the first `most`.
  std::vector<std::pair<size_t, size_t>> strongest(size_t most) const;
  /// The matrix (players, players) whose rows add up to phi: half of each interaction beside the
  /// diagonal, what is left of phi on it (Lundberg et al. 2020, equation 12).
  std::vector<double> shared_out(const std::vector<double>& phi) const;
};

/// All coalitions asked where the evaluations allow it; else, for each pair, the mean second
/// difference over random coalitions of the others, every size equally often, four evaluations a
/// draw; two draws of each pair at least. Throws UsageError("too_few_evaluations") where
/// max_evaluations does not allow them.
Interactions interactions(Game& game, const EstimateOptions& options);

}  // namespace quern::explain
