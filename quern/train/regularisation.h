#pragma once

#include <string>

#include "quern/run/options.h"
#include "quern/train/trainer.h"

namespace quern::train {

/// What was done against overfitting, for the line below the verdict: "dropout 0.1, weight decay
/// 0.1, 8 members; of 14 evaluations the best was kept". Rates that are 0 are left out.
std::string against_overfitting(const run::Options& options, const TrainResult& result);

}  // namespace quern::train
