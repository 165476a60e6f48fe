#pragma once

#include <span>
#include <string>
#include <vector>

#include "quern/data/column_types.h"
#include "quern/data/table.h"
#include "quern/task/row_scores.h"
#include "quern/train/report_parts.h"

namespace quern::train {

struct ScoredBaseline {
  std::string name;
  std::vector<metrics::Score> scores;
};

/// What the reports of a finished run tell. Pointers are not owned.
struct RowReport {
  std::string name, headline;
  RunFacts run;
  const run::RowPipeline* pipeline = nullptr;
  std::vector<data::ColumnFacts> facts;
  std::vector<metrics::Score> scores;  // of the validation part
  std::vector<ScoredBaseline> baselines;
  const task::RowAnswers* rows = nullptr;  // of the validation part
  // Where those rows stand, and their pictures as the model sees them.
  const data::Table* table = nullptr;
  std::span<const size_t> places;
  const features::EncodedRows* inputs = nullptr;
};

/// "metric", "model (95 % interval)", then each baseline; and a row a metric.
std::vector<std::string> score_header(const RowReport& report);
report::Rows score_table(const RowReport& report);
/// How training went, then temperature and threshold or the prediction interval.
report::Rows run_rows(const RowReport& report);
/// Each column with its type and why; each part with its rows.
report::Rows column_rows(const RowReport& report);
report::Rows part_rows(const RowReport& report);

/// report.html: scores beside the baselines, learning curves; of classes the confusion matrix, ROC,
/// precision and recall, reliability; of values predictions and residuals; the errors worth looking
/// at; columns, options.
std::string row_report_html(const RowReport& report);
/// MODEL_CARD.md, in the layout of Hugging Face's model cards.
std::string row_model_card(const RowReport& report);

}  // namespace quern::train
