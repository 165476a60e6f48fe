#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "quern/base/error.h"
#include "quern/cli/command.h"
#include "quern/cli/command_list.h"
#include "quern/data/table_reader.h"
#include "quern/infer/row_predictor.h"
#include "quern/run/row_run.h"
#include "quern/task/row_scores.h"
#include "quern/task/table_task.h"

namespace quern::cli {
namespace {

using nlohmann::ordered_json;

struct Flags {
  std::string run;
  std::vector<std::string> data;
};

ordered_json number(double value) {
  return std::isfinite(value) ? ordered_json(value) : ordered_json(nullptr);
}

int run_evaluate(Invocation& invocation, const Flags& flags) {
  run::RowRun run = run::load_row_run(flags.run);
  const std::vector<fs::path> paths(flags.data.begin(), flags.data.end());
  const data::Table table = data::read_table(paths, {}, *invocation.reporter);
  std::vector<size_t> rows(table.rows());
  std::iota(rows.begin(), rows.end(), size_t{0});
  task::RowAnswers answers;
  answers.targets = task::read_targets(table, run.pipeline, rows);
  if (rows.empty()) {
    throw Error("no_rows", fmt::format("no row has a '{}' to score against", run.pipeline.target),
                "give labelled data");
  }
  ThreadPool pool(static_cast<int>(invocation.options.integer("threads")));
  infer::RowPredictor predictor(run.config, run.parameters, pool);
  invocation.reporter->progress(fmt::format("answering {} rows", rows.size()));
  answers.answers =
      predictor.predict(task::make_row_inputs(run.pipeline.columns.encode(table, rows), run.config,
                                              run.tokenizer.get()),
                        run.pipeline.temperature);
  const auto seed = static_cast<uint64_t>(invocation.options.integer("seed"));
  const std::vector<metrics::Score> scores = task::score_rows(run.pipeline, answers, seed);
  if (invocation.json) {
    ordered_json json{{"task", run.pipeline.task}, {"rows", rows.size()}};
    for (const metrics::Score& score : scores) {
      json["metrics"][score.name] = {{"value", number(score.interval.value)},
                                     {"low", number(score.interval.low)},
                                     {"high", number(score.interval.high)}};
    }
    invocation.print(json.dump() + "\n");
    return 0;
  }
  std::string text = fmt::format("{} rows; 95 % intervals by bootstrap\n", rows.size());
  for (const metrics::Score& score : scores) {
    text += std::isfinite(score.interval.value)
                ? fmt::format("{:<20}{:>12.4f}   {:.4f} to {:.4f}\n", score.name,
                              score.interval.value, score.interval.low, score.interval.high)
                : fmt::format("{:<20}{:>12}   needs rows of both classes\n", score.name, "-");
  }
  invocation.print(text);
  return 0;
}

}  // namespace

Action declare_evaluate(CLI::App& app, Invocation& invocation) {
  static_cast<void>(invocation);
  auto flags = std::make_shared<Flags>();
  app.add_option("RUN", flags->run, "The run folder that quern train wrote")->required();
  app.add_option("DATA", flags->data, "A table with the target column")->required();
  return [flags](Invocation& in) { return run_evaluate(in, *flags); };
}

}  // namespace quern::cli
