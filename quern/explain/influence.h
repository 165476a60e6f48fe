#pragma once

#include <cstddef>

#include "quern/base/thread_pool.h"
#include "quern/explain/explanation.h"
#include "quern/explain/row_game.h"
#include "quern/explain/row_parts.h"
#include "quern/task/table_task.h"

namespace quern::explain {

/// TracIn (Pruthi et al. 2020, equation 1): over the weights of the run and of its saved
/// checkpoints, the product of the gradient of the loss of a training row with the gradient of what
/// is explained (of a class -log of its probability), all parameters together: the mean over the
/// sets of weights, each by the learning rate of the step that led to it. Of a run of several folds
/// a row counts by the copies that learned from it, each at its own fold's weights. Throws
/// FormatError for a damaged checkpoint. At most `most` rows are looked at, `shown` of each sign
/// given. Gives the run gradients (ParameterStore::allocate_gradients).
InfluenceReport find_influence(run::RowRun& run, ThreadPool& pool, const ExplainedRow& row,
                               RowTarget target, const task::TableTask& training, size_t shown,
                               size_t most = 2000);

}  // namespace quern::explain
