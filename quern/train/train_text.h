#pragma once

#include "quern/base/progress.h"
#include "quern/train/run_setup.h"

namespace quern::train {

/// Reads and divides the text, trains tokenizer and model, scores, and leaves the whole run folder.
/// Every decision is noted with its reason and the key that overrides it. Throws UsageError
/// (contradicting options; a run already there), and whatever the parts throw.
TrainSummary train_text(const TrainRequest& request, Reporter& reporter);

}  // namespace quern::train
