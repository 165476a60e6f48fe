#pragma once

#include <string>
#include <vector>

#include "quern/base/progress.h"
#include "quern/run/options.h"
#include "quern/task/table_task.h"

namespace quern::explain {

/// What a model learned afresh from some of the training rows scores on the validation rows.
struct Relearned {
  double fraction = 1;
  size_t rows = 0;
  double loss = 0;   // on the validation rows
  double score = 0;  // the main metric of the task
};

struct Retraining {
  std::string metric;
  std::vector<Relearned> curve;  // a quarter, a half, all of the training rows
  Relearned shuffled;            // all rows, their answers dealt out at random
  double seconds_each = 0;       // of training
};

/// Trains four times in a temporary folder, on the GPU where one is given, with the options of the
/// run but for the time, which is shared out evenly. Throws Error("pictures") for a table of
/// pictures, and what training throws.
Retraining retrain(const task::TableTask& task, const run::Options& options, double seconds,
                   kernels::cuda::Gpu* gpu, Reporter& reporter);

}  // namespace quern::explain
