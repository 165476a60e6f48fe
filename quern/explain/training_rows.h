#pragma once

#include <vector>

#include "quern/base/file.h"
#include "quern/run/options.h"
#include "quern/task/table_task.h"

namespace quern::explain {

/// Where the run says that its training data stands. Throws Error("no_training_data") where it does
/// not, or the data is gone.
std::vector<fs::path> training_paths(const run::RowRun& run);

/// The rows that a run learned from, and those that it held out. Throws what read_table throws;
/// Error("other_data") where the data is not what the run learned from.
task::TableTask read_training(const run::RowRun& run, const run::Options& options,
                              const std::vector<fs::path>& paths);

}  // namespace quern::explain
