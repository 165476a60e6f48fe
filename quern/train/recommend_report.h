#pragma once

#include <string>
#include <vector>

#include "quern/run/item_run.h"
#include "quern/run/options.h"
#include "quern/task/item_scores.h"
#include "quern/train/experiment_log.h"
#include "quern/train/trainer.h"

namespace quern::train {

/// What the reports of a finished run tell. Pointers are not owned.
struct RecommendReport {
  std::string name, headline;
  const run::Options* options = nullptr;
  const run::ItemPipeline* pipeline = nullptr;
  const TrainResult* result = nullptr;
  int64_t parameters = 0;
  std::vector<task::RecommendScores> scores;  // the model, then the baselines
  LoggedLosses losses;
};

/// report.html: scores beside the baselines, the protocol, learning curves, options.
std::string recommend_report_html(const RecommendReport& report);
/// MODEL_CARD.md, in the layout of Hugging Face's model cards.
std::string recommend_model_card(const RecommendReport& report);

}  // namespace quern::train
