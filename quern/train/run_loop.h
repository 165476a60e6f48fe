#pragma once

#include <functional>
#include <string>

#include "quern/train/run_setup.h"

namespace quern::train {

/// What the loop of a run needs besides its engine.
struct RunLoop {
  const TrainRequest* request = nullptr;
  const OpenedRun* opened = nullptr;
  TrainerOptions trainer;
  /// Continues text with the present weights, for the log; may be empty.
  std::function<std::string(Engine&)> sample{};
};

/// Trains from the start, or goes on from the newest checkpoint, and keeps the run folder's log and
/// curves. With ranks, all call it; the root keeps the log.
TrainResult run_loop(Engine& engine, RunLoop loop, Reporter& reporter);

}  // namespace quern::train
