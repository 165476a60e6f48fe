#include <fmt/format.h>

#include <numeric>

#include "quern/base/error.h"
#include "quern/cli/evaluate.h"
#include "quern/data/table_reader.h"
#include "quern/infer/row_predictor.h"
#include "quern/run/row_run.h"
#include "quern/task/row_scores.h"
#include "quern/task/table_task.h"

namespace quern::cli {

int evaluate_rows(Invocation& invocation, const EvaluateFlags& flags) {
  run::RowRun run = run::load_row_run(flags.run);
  const std::vector<fs::path> paths = flags.paths();
  const data::Table table =
      data::read_table(paths, table_options(invocation), *invocation.reporter);
  std::vector<size_t> rows(table.rows());
  std::iota(rows.begin(), rows.end(), size_t{0});
  task::RowAnswers answers;
  answers.targets = task::read_targets(table, run.pipeline, rows);
  if (rows.empty()) {
    throw Error("no_rows", fmt::format("no row has a '{}' to score against", run.pipeline.target),
                "give labelled data");
  }
  ThreadPool pool(static_cast<int>(invocation.options.integer("threads")));
  run.parameters.use(invocation.gpu.get());
  infer::RowPredictor predictor(run.config, run.parameters, pool);
  invocation.reporter->progress(fmt::format("answering {} rows", rows.size()));
  answers.answers =
      predictor.predict(task::make_row_inputs(run.pipeline.columns.encode(table, rows, &pool), run),
                        run.pipeline.temperature);
  const auto seed = static_cast<uint64_t>(invocation.options.integer("seed"));
  print_scores(invocation, run.parameters.gpu(), run.pipeline.task, rows.size(),
               fmt::format("{} rows; 95 % intervals by bootstrap", rows.size()),
               task::score_rows(run.pipeline, answers, seed));
  return 0;
}

}  // namespace quern::cli
