#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "quern/base/file.h"
#include "quern/formats/tensorboard.h"
#include "quern/run/options.h"
#include "quern/train/trainer.h"

namespace quern::train {

/// Writes what happens in training into the run folder: log.jsonl (every step and every evaluation,
/// in full) and TensorBoard curves (loss/train, loss/validation, bits_per_byte, validation/SCORE,
/// learning_rate, gradient_norm, tokens_per_second; histograms of weights and gradients, and
/// samples as text with how much they repeat themselves, at every fifth evaluation;
/// hyper-parameters).
class ExperimentLog : public TrainObserver {
 public:
  /// `sample` continues text with the present weights; it may be empty.
  ExperimentLog(const fs::path& folder, double bytes_per_token,
                std::function<std::string(Engine&)> sample);

  /// Scores, by name, of what the evaluation just done answered; they become validation/NAME.
  using Scores = std::function<std::vector<std::pair<std::string, double>>()>;
  void score_with(Scores scores) { scores_ = std::move(scores); }

  /// Throws away the lines of log.jsonl beyond `step`, and the curves likewise.
  void on_resume(int64_t step) override;
  void on_step(const StepRecord& record) override;
  void on_evaluation(const EvaluationRecord& record, Engine& engine) override;
  /// Once, before training; the tags are shown beside the options.
  void write_options(const run::Options& options, std::span<const std::string> metric_tags);
  void finish(const TrainResult& result);

 private:
  void histograms(int64_t step, Engine& engine);
  void take_sample(int64_t step, Engine& engine);
  AppendFile& log();

  fs::path folder_;
  double bytes_per_token_;
  std::function<std::string(Engine&)> sample_;
  Scores scores_;
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
