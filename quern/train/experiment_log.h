#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "quern/base/file.h"
#include "quern/formats/tensorboard.h"
#include "quern/run/options.h"
#include "quern/train/trainer.h"

namespace quern::train {

/// Writes what happens in training into the run folder: log.jsonl (every step and every evaluation,
/// in full) and TensorBoard curves (loss/train, loss/validation, bits_per_byte, learning_rate,
/// gradient_norm, tokens_per_second; histograms of weights and gradients, and samples as text, at
/// every fifth evaluation; hyper-parameters).
class ExperimentLog : public TrainObserver {
 public:
  /// `sample` continues text with the present weights; it may be empty.
  ExperimentLog(const fs::path& folder, double bytes_per_token,
                std::function<std::string(Engine&)> sample);

  /// Throws away the lines of log.jsonl beyond `step`, and the curves likewise.
  void on_resume(int64_t step) override;
  void on_step(const StepRecord& record) override;
  void on_evaluation(const EvaluationRecord& record, Engine& engine) override;
  /// Once, before training.
  void write_options(const run::Options& options);
  void finish(const TrainResult& result);

 private:
  void histograms(int64_t step, Engine& engine);
  AppendFile& log();

  fs::path folder_;
  double bytes_per_token_;
  std::function<std::string(Engine&)> sample_;
  formats::EventWriter events_;
  std::optional<AppendFile> log_;
  int64_t evaluations_ = 0;
};

/// One line of log.jsonl, read back for the report.
struct LoggedLosses {
  std::vector<StepRecord> steps;
  std::vector<EvaluationRecord> evaluations;
};
/// Lines that are cut short are left out.
LoggedLosses read_log(const fs::path& log_file);

}  // namespace quern::train
