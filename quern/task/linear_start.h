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
  // Where asked for: the fold of each row, and the weights that were fitted without each fold.
  std::vector<uint32_t> fold_of;
  std::vector<std::vector<float>> fold_weights;

  /// (rows, outputs) of rows that are changes of the known row `row`, by the weights that did not
  /// see it.
  std::vector<float> scores_like(size_t row, const features::ColumnEncoder& columns,
                                 const features::EncodedRows& rows) const;
};

/// Fits it: for tables logistic or ridge regression, for labelled texts support vector machines;
/// kind of features and strength of the penalty are those with the least out-of-fold loss. `folds`
/// says which of `count` folds each row is in; those in fold `count` are not learnt from, and are
/// scored by the model of all others. `keep_folds`: also the weights of each fold.
LinearStart fit_linear_start(const run::RowPipeline& pipeline, const features::EncodedRows& rows,
                             const RowTargets& targets, std::span<const uint32_t> folds,
                             uint32_t count, ThreadPool& pool, bool keep_folds = false);

}  // namespace quern::task
