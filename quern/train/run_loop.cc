#include "quern/train/run_loop.h"

#include <optional>

namespace quern::train {

TrainResult run_loop(Engine& engine, RunLoop loop, Reporter& reporter) {
  const TrainRequest& request = *loop.request;
  const fs::path& folder = loop.folder.empty() ? request.run : loop.folder;
  loop.trainer.checkpoints = folder / run::kCheckpointFolder;
  std::optional<ExperimentLog> log;
  if (engine.ranks().root()) {
    log.emplace(folder, loop.trainer.bytes_per_token, std::move(loop.sample));
    log->score_with(std::move(loop.scores));
  }
  TrainObserver nothing;
  TrainObserver& observer = log ? static_cast<TrainObserver&>(*log) : nothing;
  Trainer trainer(engine, loop.trainer, reporter, observer);
  // The others always find a run: the one that the root has begun.
  const bool going_on =
      request.resume && engine.ranks().from_root(loop.opened->going_on ? 1 : 0) > 0;
  if (going_on && trainer.resume()) {
    engine.ranks().from_root(0);  // the root has cut the log to what still holds
    trainer.recall(read_log(folder / run::kLogFile).evaluations);
  } else {
    if (request.resume) {
      if (folder == request.run)
        reporter.note("no checkpoint to resume from: training starts afresh");
      observer.on_resume(0);
    }
    if (log) log->write_options(loop.opened->options, loop.metric_tags);
  }
  TrainResult result = trainer.run();
  if (log) log->finish(result);
  return result;
}

}  // namespace quern::train
