#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "quern/base/thread_pool.h"
#include "quern/explain/estimate.h"
#include "quern/explain/explanation.h"
#include "quern/explain/history_game.h"

namespace quern::explain {

struct HistoryQuestion {
  std::vector<uint32_t> history;  // ids, oldest first
  std::string target;             // an item; empty: the best one that is new to the history
  std::string against;            // why the target stands above this item; empty: none
  size_t top = 1;                 // without a target: so many of the best
  ItemTarget::Scale scale = ItemTarget::Scale::kLogProbability;
  EstimateOptions estimate;
  bool audit = false;
  size_t interactions = 0;  // pairs of parts to show; 0: not asked
};

/// Which items of a history make an item stand where it does: one explanation for each item asked
/// about. Throws UsageError("unknown_item") naming the nearest, and what HistoryGame and estimate
/// throw.
std::vector<Explanation> explain_history(run::ItemRun& run, ThreadPool& pool,
                                         const HistoryQuestion& question);

}  // namespace quern::explain
