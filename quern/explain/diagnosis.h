#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "quern/base/file.h"
#include "quern/base/progress.h"
#include "quern/explain/drift.h"
#include "quern/explain/membership.h"
#include "quern/explain/overlap.h"
#include "quern/explain/retraining.h"
#include "quern/metrics/classification.h"

namespace quern::explain {

struct DiagnoseRequest {
  fs::path run;
  std::vector<fs::path> data;      // new rows to hold against the training rows; may be empty
  std::vector<fs::path> training;  // where the training data stands; empty: where the run says
  std::string table;               // of new rows in a database; empty: as the training data's
  double drift_limit = 0.25;       // of the population stability index
  double retrain_seconds = 0;      // for learning afresh; 0: not done
  uint64_t seed = 1;
  int threads = 0;
  kernels::cuda::Gpu* gpu = nullptr;  // answers there; null: the processor. Outlives the diagnosis
};

/// Whether probabilities can be taken at their word, or intervals hold what they promise.
struct Calibration {
  std::string of;  // the rows looked at
  size_t rows = 0;
  // Of classes, under the temperature in force.
  std::vector<metrics::Score> scores;  // log_loss, brier, ece, with intervals
  double temperature = 1;              // in force
  double temperature_left = 1;  // what would fit these rows best on top of it; 1 is calibrated
  std::vector<metrics::ReliabilityBin> bins;
  std::string bins_of;  // the class that the bins speak of
  // Of values.
  std::optional<metrics::Interval> coverage;  // share of rows inside the 90 % interval
};

enum class Overfit : uint8_t { kNone, kSlight, kOverfits };
std::string_view name(Overfit verdict);

struct Diagnosis {
  std::string run, task, target;
  std::string device = "cpu";  // where the model answered
  std::string held_out;        // "validation" or "test": the rows that training did not learn from
  Overfit overfit = Overfit::kNone;
  Membership membership;
  std::string training_verdict;  // what training said of its own curves
  std::optional<Retraining> retraining;
  std::optional<Calibration> calibration;  // none where new rows have no answers
  Overlap leakage;                         // rows held out, or new, that stand in training
  std::string compared;                    // the rows that leakage and drift speak of
  std::vector<ColumnDrift> drift;
  double drift_limit = 0;
  /// What it comes to, a sentence each: overfitting, calibration, leakage, drift.
  std::vector<std::string> verdicts;

  /// Whether a column of new rows is over the limit.
  bool drifted() const;
};

/// Looks at a run that answers with a class or a value, beside the rows it learned from. Throws
/// what load_row_run and read_table throw; Error("no_training_data") where the run does not say
/// where its rows stand, or they are gone; Error("other_data") where they have changed.
Diagnosis diagnose(const DiagnoseRequest& request, Reporter& reporter);

}  // namespace quern::explain
