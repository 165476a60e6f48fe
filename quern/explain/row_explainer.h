#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "quern/base/progress.h"
#include "quern/base/thread_pool.h"
#include "quern/data/table.h"
#include "quern/explain/counterfactual.h"
#include "quern/explain/estimate.h"
#include "quern/explain/explanation.h"
#include "quern/explain/global.h"
#include "quern/explain/reasons.h"
#include "quern/explain/row_game.h"
#include "quern/infer/row_predictor.h"
#include "quern/run/row_run.h"
#include "quern/task/table_task.h"

namespace quern::explain {

/// The rows that hidden columns take their values from: those that training chose, or of `file`
/// where it is not empty; at most `most`, evenly spread (0: all). Empty where the run reads no
/// columns. Throws Error("no_background") for a run that kept none, and "no_rows".
features::EncodedRows read_background(const run::RowRun& run, const std::string& file, size_t most,
                                      Reporter& reporter);

struct RowQuestion {
  std::string target;  // a class; empty: the one that the model chooses
  bool log_odds = false;
  EstimateOptions estimate;
  PartOptions parts;
  bool audit = false;
  bool novelty = true;                        // of masked inputs, where they are asked
  bool attention = false;                     // rollout too
  size_t influence = 0;                       // training rows of each sign to show; 0: not asked
  const task::TableTask* training = nullptr;  // where influence is asked for
  size_t interactions = 0;                    // pairs of parts to show; 0: not asked
  size_t reasons = 0;  // principal reasons wanted, in the words of `dictionary`
  std::vector<ReasonEntry> dictionary;
  bool wants_counterfactual = false;
  CounterfactualOptions counterfactual;
};

/// Why a trained encoder answers rows as it does.
class RowExplainer {
 public:
  /// Run and pool must outlive the explainer.
  RowExplainer(run::RowRun& run, ThreadPool& pool, features::EncodedRows background);

  /// Throws UsageError("unknown_class") naming the nearest, what take_row throws and what estimate
  /// throws.
  Explanation explain(const data::Table& table, size_t row, const RowQuestion& question);

  infer::RowPredictor& predictor() { return predictor_; }
  const features::EncodedRows& background() const { return background_; }
  /// What is explained of this row.
  RowTarget target_of(const ExplainedRow& row, const RowQuestion& question);

 private:
  bool only_text() const { return run_.config.has_text() && !run_.config.has_image(); }

  run::RowRun& run_;
  ThreadPool& pool_;
  features::EncodedRows background_;
  infer::RowPredictor predictor_;
  std::vector<float> represented_;  // training rows, of a run over texts or pictures alone
};

/// Explains some rows of a table one by one and sums them up: of one class, by default the one that
/// scores speak of where there are two, else the one chosen for each row. An interrupt ends it
/// early, with the rows explained so far.
GlobalExplanation explain_rows(RowExplainer& explainer, const run::RowPipeline& pipeline,
                               const data::Table& table, std::span<const size_t> rows,
                               RowQuestion question, Reporter& reporter);

/// Parts of a row as people read them, the unseen words among them.
std::vector<ExplainedPart> parts_of(const ExplainedRow& row);
/// "probability of bad", "log-odds of bad", "predicted price"; and its unit.
std::string target_name(const run::RowPipeline& pipeline, RowTarget target);
std::string unit_name(const run::RowPipeline& pipeline, RowTarget target);

}  // namespace quern::explain
