#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "quern/base/thread_pool.h"
#include "quern/features/linear_score.h"
#include "quern/run/row_run.h"
#include "quern/task/rows.h"

namespace quern::task {

/// A linear model that the transformer starts from, and what it says of each training row when
/// fitted without that row's fold: its scores of rows it has seen would leave nothing to learn.
struct LinearStart {
  features::LinearScore score;
  std::vector<float> scores;  // (rows, outputs); of training rows out of fold
  std::string how;            // for people
};

/// Fits it: for tables logistic or ridge regression, for labelled texts support vector machines;
/// kind of features and strength of the penalty are those with the least out-of-fold loss. `folds`
/// says which of `count` folds each row is in; those in fold `count` are not learnt from, and are
/// scored by the model of all others.
LinearStart fit_linear_start(const run::RowPipeline& pipeline, const features::EncodedRows& rows,
                             const RowTargets& targets, std::span<const uint32_t> folds,
                             uint32_t count, ThreadPool& pool);

}  // namespace quern::task
