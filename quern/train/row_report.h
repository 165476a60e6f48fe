#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quern/data/column_types.h"
#include "quern/data/table.h"
#include "quern/train/report_parts.h"
#include "quern/train/row_data.h"
#include "quern/train/run_setup.h"

namespace quern::train {

/// What the reports of a finished run tell. Pointers are not owned.
struct RowReport {
  std::string name, headline;
  RunFacts run;
  const run::RowPipeline* pipeline = nullptr;
  std::vector<data::ColumnFacts> facts;
  std::vector<metrics::Score> scores;  // of the validation part
  std::span<const ScoredBaseline> baselines;
  double peak_flops = 0;                   // of the machine that trained, a second
  const task::RowAnswers* rows = nullptr;  // of the validation part
  // Where those rows stand, and which of the inputs they are, with pictures as the model sees them.
  const data::Table* table = nullptr;
  std::span<const size_t> places;
  const features::EncodedRows* inputs = nullptr;
  std::span<const size_t> input_rows;
};

/// "metric", "model (95 % interval)", then each baseline; and a row a metric.
std::vector<std::string> score_header(const RowReport& report);
report::Rows score_table(const RowReport& report);
/// How training went, then temperature and threshold or the prediction interval.
report::Rows run_rows(const RowReport& report);
/// Each column with its type and why; each part with its rows.
report::Rows column_rows(const RowReport& report);
report::Rows part_rows(const RowReport& report);

/// Who won, plainly: the main metric of the transformer and of the best baseline.
std::string row_headline(const RowReport& report);
/// metrics.json; of a run that was interrupted without the model's scores.
std::string row_metrics_json(const RowReport& report, const TrainRequest& request,
                             const TrainSummary& summary);
/// For people, lines.
std::string row_conclusion(const RowReport& report, const TrainSummary& summary);

/// report.html: scores beside the baselines, learning curves; of classes the confusion matrix, ROC,
/// precision and recall, reliability; of values predictions and residuals; the errors worth looking
/// at; columns, options.
std::string row_report_html(const RowReport& report);
/// MODEL_CARD.md, in the layout of Hugging Face's model cards.
std::string row_model_card(const RowReport& report);

}  // namespace quern::train
