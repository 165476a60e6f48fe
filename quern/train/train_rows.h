#pragma once

#include "quern/base/progress.h"
#include "quern/train/run_setup.h"

namespace quern::train {

/// Learns a column of a table from the others: reads and divides it, fits what prepares it, trains,
/// calibrates on the validation part, scores beside cheap baselines, and leaves the run folder.
/// Every decision is noted with its reason and the key that overrides it.
TrainSummary train_rows(const TrainRequest& request, Reporter& reporter);

}  // namespace quern::train
