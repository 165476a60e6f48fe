#pragma once

#include "quern/base/progress.h"
#include "quern/train/run_setup.h"

namespace quern::train {

/// Trains on a log of who took what: reads, divides by time, scores the baselines on the same
/// split, trains, ranks all items for every tested user, writes the run folder. Throws what the
/// data, the options and the memory say.
TrainSummary train_recommend(const TrainRequest& request, Reporter& reporter);

}  // namespace quern::train
