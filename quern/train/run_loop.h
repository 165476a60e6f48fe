#pragma once

#include <functional>
#include <string>
#include <vector>

#include "quern/train/experiment_log.h"
#include "quern/train/run_setup.h"

namespace quern::train {

/// What the loop of a run needs besides its engine.
struct RunLoop {
  const TrainRequest* request = nullptr;
  const OpenedRun* opened = nullptr;
  TrainerOptions trainer;                  // but where checkpoints go
  fs::path folder{};                       // of log and checkpoints; empty: the run folder
  std::vector<std::string> metric_tags{};  // shown beside the options in TensorBoard
  /// Continues text with the present weights, for the log; may be empty.
  std::function<std::string(Engine&)> sample{};
  ExperimentLog::Scores scores{};  // of the evaluation just done; may be empty
};

/// Trains from the start, or goes on from the newest checkpoint, and keeps the run folder's log and
/// curves. With ranks, all call it; the root keeps the log.
TrainResult run_loop(Engine& engine, RunLoop loop, Reporter& reporter);

}  // namespace quern::train
