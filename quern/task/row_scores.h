#pragma once

#include <span>
#include <string>
#include <vector>

#include "quern/metrics/classification.h"
#include "quern/metrics/interval.h"
#include "quern/metrics/linear_baseline.h"
#include "quern/metrics/regression.h"
#include "quern/run/row_run.h"
#include "quern/task/rows.h"

namespace quern::task {

/// Answers of a model for rows, beside the truth.
struct RowAnswers {
  std::vector<float> answers;  // (rows, classes) probabilities, or (rows) standardised values
  RowTargets targets;
};

/// The view that the metrics of classes take; valid while the answers live.
metrics::Classified classified(const run::RowPipeline& pipeline, const RowAnswers& rows);

/// Predictions and targets in the target's own units.
struct OwnUnits {
  std::vector<double> predictions, targets;
  metrics::Regressed view() const { return {predictions, targets}; }
};
OwnUnits own_units(const run::RowPipeline& pipeline, const RowAnswers& rows);

/// Every metric of the task, with intervals.
std::vector<metrics::Score> score_rows(const run::RowPipeline& pipeline, const RowAnswers& rows,
                                       uint64_t seed);
/// The one that decides who wins: auc of two classes, accuracy of more, rmse of values; and whether
/// higher is better.
struct MainMetric {
  std::string name;
  bool higher = true;
};
MainMetric main_metric(const run::RowPipeline& pipeline);

/// A cheap model on the same split.
struct Baseline {
  std::string name;
  std::vector<float> answers;  // as RowAnswers
};
/// The majority class or the mean; a linear model over places, one-hot categories and tf-idf of
/// words; and where there are number or category columns, the fifteen nearest of at most 5,000
/// training rows.
std::vector<Baseline> row_baselines(const run::RowPipeline& pipeline,
                                    const features::EncodedRows& train, const RowTargets& targets,
                                    const features::EncodedRows& validation);

}  // namespace quern::task
