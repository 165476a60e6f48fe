#pragma once

#include "quern/base/progress.h"
#include "quern/train/run_setup.h"

namespace quern::train {

/// Trains whatever the request asks for: the next item with --task recommend, a column where a
/// target is named, else text to continue. Throws UsageError where --task and --target contradict
/// each other, and what the task throws.
TrainSummary train(const TrainRequest& request, Reporter& reporter);

}  // namespace quern::train
