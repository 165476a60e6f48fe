#include "quern/explain/training_rows.h"

#include <fmt/format.h>

#include <algorithm>

#include "quern/base/error.h"
#include "quern/base/strings.h"

namespace quern::explain {

std::vector<fs::path> training_paths(const run::RowRun& run) {
  const auto& split = run.pipeline.record.split;
  const auto found = split.find("sources");
  std::vector<fs::path> paths;
  if (found != split.end()) {
    for (const std::string& line : quern::split(found->second, '\n')) paths.emplace_back(line);
  }
  const auto gone = std::ranges::find_if(paths, [](const fs::path& p) { return !fs::exists(p); });
  if (paths.empty() || gone != paths.end()) {
    throw Error("no_training_data",
                paths.empty() ? fmt::format("{} does not say where its training data stands",
                                            run.folder.string())
                              : fmt::format("{}: the training data is gone", gone->string()),
                "name it with --training FILE");
  }
  return paths;
}

task::TableTask read_training(const run::RowRun& run, const run::Options& options,
                              const std::vector<fs::path>& paths) {
  task::TableTask task = task::make_table_task(paths, options, silent_reporter());
  if (task.table.fingerprint() != run.pipeline.record.data_fingerprint) {
    throw Error("other_data", "the training data is not what the run learned from: it has changed",
                "name the data as it was with --training FILE");
  }
  return task;
}

}  // namespace quern::explain
