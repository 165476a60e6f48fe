#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "quern/explain/game.h"
#include "quern/infer/item_ranker.h"
#include "quern/run/item_run.h"

namespace quern::explain {

/// Which number of a recommendation is explained.
struct ItemTarget {
  enum class Scale : uint8_t { kLogProbability, kProbability, kRank };
  Scale scale = Scale::kLogProbability;
  uint32_t item = 0;
  uint32_t against = 0;  // 0: none; else the item's value less this one's
};

/// A history as a game: its items are the players. A hidden item is left out, those after it move
/// up; with all hidden, items stand as often as training saw them, which is what an empty history
/// is recommended. All coalitions go through one plan, in batches.
class HistoryGame : public Game {
 public:
  /// Of a long history, the last items that fit the context are players. Run and ranker must
  /// outlive the game. Throws UsageError("empty_history").
  HistoryGame(const run::ItemRun& run, infer::ItemRanker& ranker, std::vector<uint32_t> history,
              ItemTarget target);

  size_t players() const override { return history_.size() - first_; }
  void evaluate(const Coalitions& coalitions, std::span<double> values) override;
  /// Place in the history of the first player.
  size_t first() const { return first_; }
  uint64_t answered() const { return answered_; }

 private:
  double value_of(std::span<const float> scores) const;

  infer::ItemRanker& ranker_;
  std::vector<uint32_t> history_;
  size_t first_ = 0;
  ItemTarget target_;
  uint64_t answered_ = 0;
};

}  // namespace quern::explain
