#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "quern/base/file.h"
#include "quern/base/progress.h"
#include "quern/run/options.h"
#include "quern/run/run_folder.h"
#include "quern/train/memory.h"
#include "quern/train/ranks.h"
#include "quern/train/trainer.h"

// What training begins with, whatever it learns.
namespace quern::train {

/// What `quern train` was asked for.
struct TrainRequest {
  std::vector<fs::path> data;
  fs::path run;         // the folder to make or to go on with
  bool resume = false;  // from its newest checkpoint
  run::Options options;
  kernels::cuda::Gpu* gpu = nullptr;  // null: the processor trains
  std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
  std::shared_ptr<Ranks> ranks = std::make_shared<Ranks>();  // alone
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
  std::string conclusion;    // for people, lines
  std::string metrics_json;  // what metrics.json holds; of an interrupted run: so far
};

/// What decided options say of the engine and of the loop.
EngineOptions engine_options(const run::Options& options, kernels::cuda::Gpu* gpu);
TrainerOptions trainer_options(const run::Options& options);

/// The options in force: those of the run that is gone on with, or those that were said.
struct OpenedRun {
  run::Options options;
  bool going_on = false;
  bool finished = false;  // --resume of a finished run: nothing to do
};
/// Throws UsageError: a run is there already; options that contradict it, that `task` does not
/// read, or that --bit-exact refuses. Ranks other than the root wait for begin_run() there, and
/// then go on with the run that it has begun.
OpenedRun open_run(const TrainRequest& request, std::string_view task, Reporter& reporter);
/// What is written before training, by the root alone; then lets the other ranks begin.
void begin_run(const TrainRequest& request, const std::function<void()>& write);
TrainSummary finished_summary(const fs::path& folder);

/// Decides what backward recomputes so that this rank, with what the processor holds `beside` it,
/// fits in `memory` and in what is free where it trains, and says so. Returns what the engine
/// needs. Throws Error("not_enough_memory") when nothing fits.
MemoryNeed fit_memory(const task::Problem& problem, EngineOptions& engine,
                      const run::Options& options, const Ranks& ranks, Reporter& reporter,
                      const Beside& beside = {});

/// FLOP a second that the processor reaches where it trains; 0 where a GPU does.
double peak_flops(const kernels::cuda::Gpu* gpu, ThreadPool& pool);

/// Of all that must be the same for going on with a run.
std::string options_fingerprint(const run::Options& options, const run::Pipeline& pipeline);

}  // namespace quern::train
