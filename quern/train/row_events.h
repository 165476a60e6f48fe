#pragma once

#include <string>
#include <utility>
#include <vector>

#include "quern/base/file.h"
#include "quern/formats/tensorboard.h"
#include "quern/task/rows.h"
#include "quern/train/recommend_report.h"
#include "quern/train/row_report.h"

namespace quern::train {

/// For TensorBoard, into the run folder: final/SCORE; of classes a precision-recall curve each (the
/// positive one, or the first ten); pictures with what stands and what the model says, or a table
/// of rows likewise.
void write_row_events(const fs::path& folder, const RowReport& report);
/// final/SCORE of the model, and of each baseline as baseline/NAME/SCORE.
void write_recommend_events(const fs::path& folder, const RecommendReport& report);

/// The scores that need no bootstrap, of the last evaluation's answers: for curves in training.
std::vector<std::pair<std::string, double>> evaluation_scores(const run::RowPipeline& pipeline,
                                                              const task::RowsProblem& problem,
                                                              const task::RowTargets& targets);

/// Counts of class `of` at `thresholds` equal steps from 0 to 1, as TensorBoard's own summary
/// takes them: a row counts as found where its probability is the threshold or more.
std::vector<formats::PrPoint> pr_points(const metrics::Classified& classified, size_t of,
                                        size_t thresholds = 201);

}  // namespace quern::train
