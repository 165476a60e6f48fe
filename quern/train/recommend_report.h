#pragma once

#include <string>
#include <vector>

#include "quern/run/item_run.h"
#include "quern/task/item_scores.h"
#include "quern/train/report_parts.h"

namespace quern::train {

/// What the reports of a finished run tell. Pointers are not owned.
struct RecommendReport {
  std::string name, headline;
  RunFacts run;
  const run::ItemPipeline* pipeline = nullptr;
  std::vector<task::RecommendScores> scores;  // the model, then the baselines
};

/// report.html: scores beside the baselines, HR and NDCG by k, the protocol, learning curves,
/// options.
std::string recommend_report_html(const RecommendReport& report);
/// MODEL_CARD.md, in the layout of Hugging Face's model cards.
std::string recommend_model_card(const RecommendReport& report);

}  // namespace quern::train
