#pragma once

#include <string>
#include <vector>

#include "quern/data/column_types.h"
#include "quern/run/options.h"
#include "quern/task/row_scores.h"
#include "quern/train/experiment_log.h"
#include "quern/train/trainer.h"

namespace quern::train {

struct ScoredBaseline {
  std::string name;
  std::vector<metrics::Score> scores;
};

/// What the reports of a finished run tell. Pointers are not owned.
struct RowReport {
  std::string name, headline;
  const run::Options* options = nullptr;
  const run::RowPipeline* pipeline = nullptr;
  std::vector<data::ColumnFacts> facts;
  const TrainResult* result = nullptr;
  int64_t parameters = 0;
  std::vector<metrics::Score> scores;  // of the validation part
  std::vector<ScoredBaseline> baselines;
  const task::RowAnswers* rows = nullptr;  // of the validation part
  LoggedLosses losses;
};

/// report.html: scores beside the baselines, learning curves; of classes the confusion matrix, ROC,
/// precision and recall, reliability; of values the predictions against the truth; columns,
/// options.
std::string row_report_html(const RowReport& report);
/// MODEL_CARD.md, in the layout of Hugging Face's model cards.
std::string row_model_card(const RowReport& report);

}  // namespace quern::train
