#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "quern/base/strings.h"
#include "quern/train/regularisation.h"
#include "quern/train/row_report.h"
#include "quern/train/run_metrics.h"

namespace quern::train {
namespace {

/// The best by the main metric.
const ScoredBaseline& best_baseline(const RowReport& r) {
  const task::MainMetric main = task::main_metric(*r.pipeline);
  return *std::max_element(r.baselines.begin(), r.baselines.end(),
                           [&](const ScoredBaseline& a, const ScoredBaseline& b) {
                             const double x = metrics::value_of(a.scores, main.name);
                             const double y = metrics::value_of(b.scores, main.name);
                             return main.higher ? x < y : x > y;
                           });
}

}  // namespace

std::string row_headline(const RowReport& r) {
  const task::MainMetric main = task::main_metric(*r.pipeline);
  const ScoredBaseline& best = best_baseline(r);
  const double ours = metrics::value_of(r.scores, main.name);
  const double theirs = metrics::value_of(best.scores, main.name);
  const bool wins = main.higher ? ours > theirs : ours < theirs;
  return fmt::format("{} {:.4f}; {} on the same split has {:.4f}: {}", main.name, ours, best.name,
                     theirs, wins ? "the transformer wins" : "the transformer does not win");
}

std::string row_metrics_json(const RowReport& r, const TrainRequest& request,
                             const TrainSummary& summary) {
  const TrainResult& result = summary.result;
  nlohmann::ordered_json json = metrics_head(request, summary, r.pipeline->task, "rows_per_second");
  if (result.stopped_because != StopReason::kInterrupted) {
    json["train"] = {{"loss", result.train.loss}};
    json["validation"] = {{"loss", result.validation.loss}, {"rows", result.validation.targets}};
    for (const metrics::Score& score : r.scores)
      json["validation"][score.name] = score.interval.value;
  }
  const auto scored = [](const ScoredBaseline& baseline) {
    nlohmann::ordered_json each{{"name", baseline.name}};
    for (const metrics::Score& score : baseline.scores) each[score.name] = score.interval.value;
    return each;
  };
  json["baseline"] = scored(best_baseline(r));
  json["baselines"] = nlohmann::ordered_json::array();
  for (const ScoredBaseline& baseline : r.baselines) json["baselines"].push_back(scored(baseline));
  return finish_metrics(std::move(json), *r.run.options, summary, r.peak_flops);
}

std::string row_conclusion(const RowReport& r, const TrainSummary& summary) {
  const TrainResult& result = summary.result;
  const std::string run = shell_word(summary.run.string());
  return fmt::format(
      "{}\n{}\ndone against overfitting: {}\nvalidation loss {:.4f}, training loss {:.4f}; {} "
      "steps in {}, stopped because of "
      "{}\n"
      "run folder: {}\n  predict:     quern predict {} FILE\n  curves:      tensorboard --logdir "
      "{}\n  report:      {}\n",
      r.headline, result.verdict.text, against_overfitting(*r.run.options, result),
      result.validation.loss, result.train.loss, with_commas(result.steps),
      format_duration(result.seconds), name(result.stopped_because), run, run, run,
      shell_word((summary.run / run::kReportFile).string()));
}

}  // namespace quern::train
