#include "quern/train/report_parts.h"

#include <fmt/format.h>

#include <cmath>

#include "quern/train/regularisation.h"

namespace quern::train {
namespace {

std::string loss_plot(const RunFacts& facts) {
  report::Series train{"training", {}};
  report::Series validation{"validation", {}};
  for (const EvaluationRecord& e : facts.losses.evaluations) {
    const auto step = static_cast<double>(e.step);
    train.points.push_back({step, e.train_loss});
    validation.points.push_back({step, e.validation_loss});
  }
  report::LinePlot out =
      plot("Loss", "step", facts.unit, {std::move(train), std::move(validation)});
  out.marked_x = static_cast<double>(facts.result->best_step);
  out.mark = "kept";
  return report::to_svg(out);
}

std::string step_plot(const RunFacts& facts, std::string title, std::string unit,
                      double StepRecord::*field) {
  report::Series series;
  for (const StepRecord& step : facts.losses.steps)
    series.points.push_back({static_cast<double>(step.step), step.*field});
  return report::to_svg(plot(std::move(title), "step", std::move(unit), {std::move(series)}));
}

}  // namespace

std::string with_interval(const metrics::Interval& interval) {
  if (!std::isfinite(interval.value)) return "-";
  return fmt::format("{:.4f} ({:.4f} to {:.4f})", interval.value, interval.low, interval.high);
}

report::Rows training_rows(const RunFacts& facts) {
  const TrainResult& r = *facts.result;
  return {{"verdict", r.verdict.text},
          {"done against overfitting", against_overfitting(*facts.options, r)},
          {"validation loss", fmt::format("{:.4f} {}", r.validation.loss, facts.unit)},
          {"training loss, without dropout", fmt::format("{:.4f} {}", r.train.loss, facts.unit)},
          {"steps", fmt::format("{}, best at {}", with_commas(r.steps), with_commas(r.best_step))},
          {"stopped because of", std::string(name(r.stopped_because))},
          {"time", format_duration(r.seconds)},
          {"parameters", with_commas(facts.parameters)}};
}

void add_curves(report::HtmlPage& page, const RunFacts& facts) {
  page.heading("Learning curves");
  page.svg(loss_plot(facts));
  page.svg(step_plot(facts, "Loss of each step", facts.unit, &StepRecord::loss));
  page.svg(step_plot(facts, "Learning rate", "rate", &StepRecord::learning_rate));
  page.svg(step_plot(facts, "Gradient norm", "norm", &StepRecord::gradient_norm));
}

void add_options(report::HtmlPage& page, const run::Options& options) {
  page.heading("Options");
  report::Rows rows;
  for (const run::OptionInfo& info : run::option_table()) {
    rows.push_back({std::string(info.key), std::string(options.text(info.key)),
                    std::string(options.who(info.key))});
  }
  page.table({"key", "value", "decided by"}, rows);
}

report::LinePlot plot(std::string title, std::string x, std::string y,
                      std::vector<report::Series> series) {
  report::LinePlot out;
  out.title = std::move(title);
  out.x_label = std::move(x);
  out.y_label = std::move(y);
  out.series = std::move(series);
  return out;
}

std::string card_ending() {
  return "\n## Not known to Quern\n\nWhere the data comes from, under which licence, whom it "
         "concerns and whether they agreed, and how the model's use is supervised. Whoever passes "
         "the model on should write it here.\n";
}

}  // namespace quern::train
