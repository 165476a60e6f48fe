#pragma once

#include <string>

#include "quern/run/options.h"
#include "quern/run/row_run.h"
#include "quern/task/row_scores.h"

namespace quern::train {

/// What is chosen on rows that training did not see: of classes the
/// temperature, applied to `rows`, and the threshold by data.metric or
/// data.costs; of values the width of the interval.
void calibrate(run::RowPipeline& pipeline, task::RowAnswers& rows, const run::Options& options);

/// The threshold that data.costs ("1:5") asks for. Throws UsageError.
double threshold_by_costs(const std::string& costs);

}  // namespace quern::train
