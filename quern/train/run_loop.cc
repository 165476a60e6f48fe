#include "quern/train/run_loop.h"

#include <optional>

#include "quern/train/experiment_log.h"

namespace quern::train {

TrainResult run_loop(Engine& engine, RunLoop loop, Reporter& reporter) {
  const TrainRequest& request = *loop.request;
  loop.trainer.started = request.started;
  loop.trainer.checkpoints = request.run / run::kCheckpointFolder;
  std::optional<ExperimentLog> log;
  if (engine.ranks().root())
    log.emplace(request.run, loop.trainer.bytes_per_token, std::move(loop.sample));
  TrainObserver nothing;
  TrainObserver& observer = log ? static_cast<TrainObserver&>(*log) : nothing;
  Trainer trainer(engine, loop.trainer, reporter, observer);
  if (request.resume) {
    // The others always find a run: the one that the root has begun.
    const bool going_on = engine.ranks().from_root(loop.opened->going_on ? 1 : 0) > 0;
    if (going_on && trainer.resume()) {
      engine.ranks().from_root(0);  // the root has cut the log to what still holds
      trainer.recall(read_log(request.run / run::kLogFile).evaluations);
    } else {
      reporter.note("no checkpoint to resume from: training starts afresh");
      observer.on_resume(0);
    }
  } else if (log) {
    log->write_options(loop.opened->options);
  }
  TrainResult result = trainer.run();
  if (log) log->finish(result);
  return result;
}

}  // namespace quern::train
