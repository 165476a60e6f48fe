#include "quern/explain/retraining.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "quern/base/error.h"
#include "quern/base/random.h"
#include "quern/data/csv_parser.h"
#include "quern/explain/combinatorics.h"
#include "quern/task/row_scores.h"
#include "quern/train/train_rows.h"

namespace quern::explain {
namespace {

constexpr double kFractions[] = {0.25, 0.5, 1};

/// A folder that goes when this does.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (fs::temp_directory_path() / "quern-diagnose-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) {
      throw IoError(fmt::format("{}: no folder can be made there", name), "set TMPDIR");
    }
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

/// Writes rows as CSV; the answer of row i is that of answers[i].
void write_rows(const fs::path& path, const task::TableTask& task, std::span<const size_t> rows,
                std::span<const size_t> answers) {
  AtomicFile file(path);
  const auto columns = task.table.columns();
  std::string line;
  for (const std::string& name : columns) line += (line.empty() ? "" : ",") + data::csv_field(name);
  file.write(line + "\n");
  for (size_t i = 0; i < rows.size(); ++i) {
    line.clear();
    for (size_t column = 0; column < columns.size(); ++column) {
      if (column > 0) line += ',';
      line +=
          data::csv_field(task.table.cell(column == task.target ? answers[i] : rows[i], column));
    }
    file.write(line + "\n");
  }
  file.commit();
}

run::Options options_for(const run::Options& options, const fs::path& validation, double seconds) {
  run::Options changed = options;
  const auto set = [&](std::string_view key, std::string_view value) {
    changed.set(key, value, run::Layer::kExplicit, "quern diagnose");
  };
  set("data.validation", validation.string());
  set("data.test", "0");
  set("data.folds", "1");
  set("data.table", "");  // the rows come as CSV, wherever they stood
  set("data.split", "auto");
  set("bit_exact", "false");
  set("train.time", fmt::format("{:.3f}s", seconds));
  return changed;
}

}  // namespace

Retraining retrain(const task::TableTask& task, const run::Options& options, double seconds,
                   kernels::cuda::Gpu* gpu, Reporter& reporter) {
  if (!task.pipeline.columns.image_column().empty()) {
    throw Error("pictures", "--retrain: a table of pictures cannot be learned afresh here",
                "leave --retrain out");
  }
  const TemporaryFolder folder;
  const fs::path validation = folder.path() / "validation.csv";
  write_rows(validation, task, task.split.validation, task.split.validation);
  Random random(static_cast<uint64_t>(options.integer("seed")), Stream::kSplit);
  std::vector<size_t> rows, dealt;
  for (const size_t i : random_order(task.split.train.size(), random)) {
    rows.push_back(task.split.train[i]);
  }
  for (const size_t i : random_order(rows.size(), random)) dealt.push_back(rows[i]);
  Retraining result;
  result.metric = task::main_metric(task.pipeline).name;
  result.seconds_each = seconds / static_cast<double>(std::size(kFractions) + 1);
  const run::Options changed = options_for(options, validation, result.seconds_each);
  const auto learn = [&](std::span<const size_t> some, std::span<const size_t> answers,
                         const std::string& name) {
    reporter.progress(fmt::format("learning afresh: {}", name));
    const fs::path data = folder.path() / (name + ".csv");
    write_rows(data, task, some, answers);
    train::TrainRequest request;
    request.data = {data};
    request.run = folder.path() / name;
    request.options = changed;
    request.gpu = gpu;
    const auto summary = train::train_rows(request, silent_reporter());
    if (summary.result.stopped_because == train::StopReason::kInterrupted) {
      throw Error("interrupted", "stopped while learning afresh", "run it again");
    }
    const auto json = nlohmann::json::parse(summary.metrics_json);
    return Relearned{static_cast<double>(some.size()) / static_cast<double>(rows.size()),
                     some.size(), json["validation"]["loss"].get<double>(),
                     json["validation"][result.metric].get<double>()};
  };
  for (const double fraction : kFractions) {
    const auto count = static_cast<size_t>(fraction * static_cast<double>(rows.size()));
    const auto some = std::span(rows).first(count);
    result.curve.push_back(learn(some, some, fmt::format("{:.0f}_percent", 100 * fraction)));
  }
  result.shuffled = learn(rows, dealt, "shuffled_answers");
  return result;
}

}  // namespace quern::explain
