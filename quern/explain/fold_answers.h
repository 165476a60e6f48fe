#pragma once

#include "quern/base/thread_pool.h"
#include "quern/run/options.h"
#include "quern/run/row_run.h"
#include "quern/task/row_scores.h"
#include "quern/task/table_task.h"

namespace quern::explain {

/// The weights of one of the run's copies alone, as `run.config.single()` reads them.
graph::ParameterStore copy_of(const run::RowRun& run, int64_t copy);

/// Every training row of a run of several folds, twice: by the copy of the model that did not learn
/// from it, and by one that did.
struct FoldAnswers {
  task::RowAnswers seen, unseen;
};

/// The linear model that answers start from is fitted again as in training, so that what it says of
/// a row is out of fold, too. `options`: those that the run was trained by.
FoldAnswers answer_folds(const run::RowRun& run, const task::TableTask& task,
                         const run::Options& options, ThreadPool& pool);

}  // namespace quern::explain
