#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "quern/base/error.h"
#include "quern/base/evenly_spread.h"
#include "quern/base/interrupt.h"
#include "quern/base/strings.h"
#include "quern/cli/explain.h"
#include "quern/cli/row_input.h"
#include "quern/explain/row_explainer.h"
#include "quern/explain/training_rows.h"

namespace quern::cli {
namespace {

/// Importance over a data set needs no more of each row than its mean does.
constexpr size_t kGlobalBackground = 20;
constexpr size_t kGlobalEvaluations = 8;  // a part

/// Superpixels of a picture: fifty, fewer where they would be of less than sixteen pixels.
size_t lime_segments(const features::PictureFeature& picture) {
  return static_cast<size_t>(std::clamp<int64_t>(picture.height * picture.width / 16, 4, 50));
}

int explain_all(const Invocation& invocation, const ExplainFlags& flags, const run::RowRun& run,
                const data::Table& table, explain::RowQuestion question,
                explain::RowExplainer& explainer) {
  explain::EstimateOptions& estimate = question.estimate;
  estimate.reporter = nullptr;  // rows are counted
  if (estimate.max_evaluations == 0 && estimate.method != explain::Method::kLime) {
    const auto parts = static_cast<size_t>(std::max<int64_t>(run.config.columns(), 8));
    estimate.max_evaluations = kGlobalEvaluations * parts;
    if (estimate.method != explain::Method::kAuto) {
      estimate.max_evaluations =
          std::max(estimate.max_evaluations, explain::least_evaluations(estimate.method, parts));
    }
  }
  const std::vector<size_t> rows =
      evenly_spread(table.rows(), std::min(static_cast<size_t>(flags.rows), table.rows()));
  const InterruptGuard guard;
  explain::GlobalExplanation global =
      explain::explain_rows(explainer, run.pipeline, table, rows, question, *invocation.reporter);
  global.input = flags.input;
  give_answer(invocation, flags, explain::to_json(global), explain::terminal_text(global),
              [&] { return explain::to_html(global); });
  write_explanation_events(invocation, flags, global);
  return 0;
}

}  // namespace

int explain_rows(Invocation& invocation, const ExplainFlags& flags) {
  if (flags.input.empty())
    throw UsageError("no_input", "explain which row?", "name a table, and --row N");
  run::RowRun run = run::load_row_run(flags.run);
  const data::Table table = read_rows(invocation, flags.input);
  if (static_cast<size_t>(flags.row) > table.rows()) {
    throw UsageError(
        "no_such_row",
        fmt::format("--row {}: '{}' has {} rows", flags.row, flags.input, table.rows()),
        "rows are counted from 1, without the header");
  }
  explain::RowQuestion question;
  question.target = flags.target;
  question.log_odds = flags.scale == "log";
  question.estimate = estimate_options(invocation, flags);
  if (flags.patches > 0) question.parts.patches = flags.patches;
  question.parts.segments = static_cast<size_t>(flags.segments);
  // LIME's parts are regions of like colour unless patches are asked for.
  const bool lime = question.estimate.method == explain::Method::kLime;
  if (lime && flags.patches == 0 && flags.segments == 0)
    question.parts.segments = lime_segments(run.pipeline.columns.picture());
  question.audit = flags.audit;
  question.attention = flags.attention;
  question.interactions = static_cast<size_t>(flags.interactions);
  question.reasons = static_cast<size_t>(flags.reasons);
  if (flags.reasons > 0)
    question.dictionary = explain::read_reasons(run, flags.dictionary, *invocation.reporter);
  question.wants_counterfactual = flags.counterfactual;
  if (!flags.change.empty()) question.counterfactual.permitted = split(flags.change, ',');
  task::TableTask training;
  if (flags.influence > 0) {
    const std::vector<fs::path> named = {flags.training};
    training =
        explain::read_training(run, run::options_of(run.folder),
                               flags.training.empty() ? explain::training_paths(run) : named);
    question.influence = static_cast<size_t>(flags.influence);
    question.training = &training;
  }
  ThreadPool pool(static_cast<int>(invocation.options.integer("threads")));
  auto background_rows = static_cast<size_t>(flags.background_rows);
  if (flags.global && background_rows == 0 && !lime) background_rows = kGlobalBackground;
  run.parameters.use(invocation.gpu.get());
  explain::RowExplainer explainer(
      run, pool,
      explain::read_background(run, flags.background, background_rows, *invocation.reporter));
  if (flags.global) return explain_all(invocation, flags, run, table, question, explainer);
  give_explanation(invocation, flags,
                   explainer.explain(table, static_cast<size_t>(flags.row) - 1, question));
  return 0;
}

}  // namespace quern::cli
