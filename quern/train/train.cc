#include "quern/train/train.h"

#include <fmt/format.h>

#include <algorithm>

#include "quern/base/error.h"
#include "quern/data/table_reader.h"
#include "quern/train/train_recommend.h"
#include "quern/train/train_rows.h"
#include "quern/train/train_text.h"

namespace quern::train {
namespace {

/// Of the run gone on with, or as asked for.
run::Options known_options(const TrainRequest& request) {
  if (!request.resume || !run::is_run_folder(request.run)) return request.options;
  return run::options_of(request.run);
}

}  // namespace

TrainSummary train(const TrainRequest& asked, Reporter& reporter) {
  TrainRequest request = asked;
  if (known_options(request).text("data.target").empty() && !request.data.empty() &&
      std::all_of(request.data.begin(), request.data.end(), data::holds_pictures)) {
    request.options.set("data.target", data::kLabelColumn, run::Layer::kData, "pictures by class");
    if (request.options.text("data.task") == "auto")
      request.options.set("data.task", "classify", run::Layer::kData, "pictures by class");
  }
  const run::Options options = known_options(request);
  const std::string_view task = options.text("data.task");
  const bool target = !options.text("data.target").empty();
  if (task == "recommend") {
    if (target) {
      throw UsageError("bad_value",
                       fmt::format("--task recommend learns the next item, and --target is {}",
                                   options.text("data.target")),
                       "leave --target out; name columns with --set data.user=, data.item=, "
                       "data.time=");
    }
    return train_recommend(request, reporter);
  }
  if (target && task == "generate") {
    throw UsageError("bad_value",
                     fmt::format("--task generate learns no column, and --target is {}",
                                 options.text("data.target")),
                     "leave one of them out");
  }
  if (!target && (task == "classify" || task == "regress")) {
    throw UsageError("no_target", fmt::format("--task {} needs a column to learn", task),
                     "name it with --target COLUMN");
  }
  if (!target && std::any_of(request.data.begin(), request.data.end(), data::holds_rows_alone)) {
    throw UsageError("no_target", "DATA is a table, and nothing says what to learn from it",
                     "name the column with --target COLUMN, or learn what users take next with "
                     "--task recommend");
  }
  return target ? train_rows(request, reporter) : train_text(request, reporter);
}

}  // namespace quern::train
