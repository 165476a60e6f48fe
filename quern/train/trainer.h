#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "quern/base/progress.h"
#include "quern/train/checkpoint.h"
#include "quern/train/engine.h"
#include "quern/train/schedule.h"
#include "quern/train/verdict.h"

namespace quern::train {

/// How long to train, and what to do on the way. Of steps, epochs and seconds the tightest holds;
/// at least one must be given.
struct TrainerOptions {
  ScheduleKind schedule = ScheduleKind::kCosine;
  double learning_rate = 1e-3, min_learning_rate = 1e-4;
  int64_t warmup_steps = -1;  // -1: a twentieth of the steps, at most 200
  int64_t steps = 0;
  double epochs = 0;
  double seconds = 0;  // from `started` to the end of run(), final evaluation included
  std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
  double finish_seconds = 0;     // what the caller does after run()
  int64_t evaluate_every = 0;    // steps; 0: about 25 times a run
  int64_t patience = 0;          // 0: never when `steps` is given, else 10 evaluations
  int64_t checkpoint_every = 0;  // steps; 0: every 30 seconds
  fs::path checkpoints;          // empty: none are written
  std::string fingerprint;       // of all that must be the same for going on
  double bytes_per_token = 0;    // of the validation text, for bits per byte; 0: not text
  double peak_flops = 0;         // of the machine, a second; 0: not known
};

/// The rates of a run that stands there.
Schedule schedule_of(const TrainerOptions& options, const Progress& progress);

struct StepRecord {
  int64_t step = 0;  // steps done, this one included
  double loss = 0;   // mean over the step's targets
  double learning_rate = 0;
  double gradient_norm = 0;
  double seconds = 0;
  double tokens_per_second = 0;
};

/// Sees training as it goes: logs, curves, samples.
class TrainObserver {
 public:
  virtual ~TrainObserver() = default;
  virtual void on_step(const StepRecord&) {}
  virtual void on_evaluation(const EvaluationRecord&, Engine&) {}
  /// Records beyond this step, of a run that was cut off, no longer hold.
  virtual void on_resume(int64_t) {}
};

enum class StopReason : uint8_t { kSteps, kEpochs, kTime, kPatience, kInterrupted };
std::string_view name(StopReason reason);
/// The reason of that name; kSteps where there is none.
StopReason stop_reason(std::string_view name);

struct TrainResult {
  int64_t steps = 0;
  int64_t best_step = 0;
  double seconds = 0;
  double tokens_per_second = 0;  // of training steps alone
  double flops_per_second = 0;
  StopReason stopped_because = StopReason::kSteps;
  Evaluation train, validation;  // of the restored best step, without dropout
  Verdict verdict;
  std::vector<EvaluationRecord> history;
};

double bits_per_byte(double nats_per_token, double bytes_per_token);

/// The loop: steps, evaluations, early stopping, checkpoints, the clock.
class Trainer {
 public:
  Trainer(Engine& engine, TrainerOptions options, Reporter& reporter, TrainObserver& observer);

  /// Goes on from the newest whole checkpoint. False when there is none. Throws UsageError when it
  /// is of another run (fingerprint).
  bool resume();

  /// Evaluations of the run gone on with, for the verdict.
  void recall(std::vector<EvaluationRecord> history) { history_ = std::move(history); }

  /// Trains until a limit, patience or a signal. At a limit the best step is restored and scored on
  /// the whole validation part; after a signal a checkpoint is saved and the best step restored
  /// unscored. Throws Error("diverged") when the loss is no longer finite.
  TrainResult run();

 private:
  fs::path newest_checkpoint() const;
  double spent() const;
  double time_left() const;
  void plan_steps();
  void measure_speed();
  void estimate_steps(double step_seconds);
  bool past_deadline() const;
  void take_step();
  void evaluate();
  void save();
  void save_when_due();
  void show(bool last);
  std::optional<StopReason> reason_to_stop() const;
  TrainResult finish(StopReason reason);
  Schedule schedule() const { return schedule_of(options_, progress_); }

  Engine& engine_;
  TrainerOptions options_;
  Reporter& reporter_;
  TrainObserver& observer_;
  Progress progress_;
  std::vector<EvaluationRecord> history_;
  double seconds_before_ = 0;  // spent by the runs that this one goes on from
  std::chrono::steady_clock::time_point started_;
  double step_seconds_ = 0;  // sum over steps of this process
  double step_average_ = 0;  // smoothed seconds a step
  int64_t steps_here_ = 0;
  double evaluation_seconds_per_sample_ = 0;
  double save_seconds_ = 0;
  std::chrono::steady_clock::time_point saved_at_, loop_started_, shown_at_;
  int64_t saved_step_ = -1;
  double loss_sum_ = 0;
  int64_t loss_count_ = 0;
  double last_train_loss_ = 0;
};

}  // namespace quern::train
