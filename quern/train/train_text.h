#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "quern/base/file.h"
#include "quern/base/progress.h"
#include "quern/run/options.h"
#include "quern/train/trainer.h"

namespace quern::train {

/// What `quern train` was asked for.
struct TrainRequest {
  std::vector<fs::path> data;
  fs::path run;         // the folder to make or to go on with
  bool resume = false;  // from its newest checkpoint
  run::Options options;
  std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
};

/// What came of it. Losses in nats a token.
struct TrainSummary {
  fs::path run;
  bool was_finished = false;  // --resume on a finished run: nothing was done
  TrainResult result;
  int64_t parameters = 0;
  double bits_per_byte = 0;
  double baseline_bits_per_byte = 0;  // of the n-gram on the same split
  size_t planned_bytes = 0, allocated_bytes = 0;
  std::string metrics_json;  // what metrics.json holds; of an interrupted run: so far
};

/// What decided options say of the engine and of the loop.
EngineOptions engine_options(const run::Options& options);
TrainerOptions trainer_options(const run::Options& options);

/// Reads and divides the text, trains tokenizer and model, scores, and leaves the whole run folder.
/// Every decision is noted with its reason and the key that overrides it. Throws UsageError
/// (contradicting options; a run already there), and whatever the parts throw.
TrainSummary train_text(const TrainRequest& request, Reporter& reporter);

}  // namespace quern::train
