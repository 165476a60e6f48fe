#include "quern/train/row_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "quern/report/html.h"
#include "quern/report/line_plot.h"

namespace quern::train {
namespace {

constexpr size_t kShownClasses = 20;

std::string with_interval(const metrics::Interval& interval) {
  return fmt::format("{:.4f} ({:.4f} to {:.4f})", interval.value, interval.low, interval.high);
}

std::string score_of(const std::vector<metrics::Score>& scores, const std::string& name) {
  for (const metrics::Score& score : scores) {
    if (score.name == name)
      return std::isfinite(score.interval.value) ? fmt::format("{:.4f}", score.interval.value)
                                                 : "-";
  }
  return "-";
}

std::vector<std::string> score_header(const RowReport& r) {
  std::vector<std::string> header = {"metric", "model (95 % interval)"};
  for (const ScoredBaseline& baseline : r.baselines) header.push_back(baseline.name);
  return header;
}

report::Rows score_table(const RowReport& r) {
  report::Rows rows;
  for (const metrics::Score& score : r.scores) {
    std::vector<std::string> row = {score.name, with_interval(score.interval)};
    for (const ScoredBaseline& baseline : r.baselines)
      row.push_back(score_of(baseline.scores, score.name));
    rows.push_back(std::move(row));
  }
  return rows;
}

report::Rows run_rows(const RowReport& r) {
  const run::RowPipeline& p = *r.pipeline;
  report::Rows rows = {
      {"verdict", r.result->verdict.text},
      {"validation loss", fmt::format("{:.4f}", r.result->validation.loss)},
      {"training loss, without dropout", fmt::format("{:.4f}", r.result->train.loss)},
      {"steps", fmt::format("{}, best at {}", with_commas(r.result->steps),
                            with_commas(r.result->best_step))},
      {"stopped because of", std::string(name(r.result->stopped_because))},
      {"time", format_duration(r.result->seconds)},
      {"parameters", with_commas(r.parameters)}};
  if (p.task == "regress") {
    rows.push_back({"90 % prediction interval", fmt::format("± {:.4g}", p.interval)});
    return rows;
  }
  rows.push_back({"temperature", fmt::format("{:.3f}", p.temperature)});
  if (p.positive >= 0) {
    rows.push_back({"scores speak of", p.classes[static_cast<size_t>(p.positive)]});
    rows.push_back(
        {"threshold",
         fmt::format("{:.3f}{}", p.threshold,
                     p.threshold_metric == "auto" ? "" : " (by " + p.threshold_metric + ")")});
  }
  return rows;
}

std::string curve(std::string title, std::string x, std::string y,
                  std::vector<report::Series> series) {
  report::LinePlot plot;
  plot.title = std::move(title);
  plot.x_label = std::move(x);
  plot.y_label = std::move(y);
  plot.series = std::move(series);
  return report::to_svg(plot);
}

std::string loss_plot(const RowReport& r) {
  report::LinePlot plot;
  plot.title = "Loss";
  plot.x_label = "step";
  plot.y_label = r.pipeline->task == "classify" ? "nats a row" : "squared error, standardised";
  report::Series train{"training", {}};
  report::Series validation{"validation", {}};
  for (const EvaluationRecord& e : r.losses.evaluations) {
    train.points.push_back({static_cast<double>(e.step), e.train_loss});
    validation.points.push_back({static_cast<double>(e.step), e.validation_loss});
  }
  plot.series = {std::move(train), std::move(validation)};
  plot.marked_x = static_cast<double>(r.result->best_step);
  plot.mark = "kept";
  return report::to_svg(plot);
}

report::Series series_of(std::string name, const std::vector<metrics::CurvePoint>& points) {
  report::Series series{std::move(name), {}};
  for (const metrics::CurvePoint& point : points) series.points.push_back({point.x, point.y});
  return series;
}

void class_plots(const RowReport& r, report::HtmlPage& page) {
  const run::RowPipeline& p = *r.pipeline;
  const metrics::Classified c = task::classified(p, *r.rows);
  page.heading("Confusion");
  page.paragraph("Rows are what stands in the data, columns what the model says.");
  const std::vector<uint64_t> counts = metrics::confusion(c);
  const size_t shown = std::min(p.classes.size(), kShownClasses);
  std::vector<std::string> header = {""};
  report::Rows rows;
  for (size_t i = 0; i < shown; ++i) {
    header.push_back(p.classes[i]);
    std::vector<std::string> row = {p.classes[i]};
    for (size_t j = 0; j < shown; ++j)
      row.push_back(with_commas(static_cast<int64_t>(counts[i * p.classes.size() + j])));
    rows.push_back(std::move(row));
  }
  page.table(header, rows);
  if (shown < p.classes.size())
    page.paragraph(fmt::format("The first {} of {} classes are shown.", shown, p.classes.size()));
  page.heading("Curves by class");
  std::vector<report::Series> roc, precision, reliable;
  const size_t curves = std::min<size_t>(p.classes.size(), 5);
  for (size_t i = 0; i < curves; ++i) {
    if (p.positive >= 0 && i != static_cast<size_t>(p.positive)) continue;
    roc.push_back(series_of(p.classes[i], metrics::roc_curve(c, i)));
    precision.push_back(series_of(p.classes[i], metrics::precision_recall_curve(c, i)));
    report::Series line{p.classes[i], {}};
    for (const metrics::ReliabilityBin& bin : metrics::reliability(c, i))
      line.points.push_back({bin.probability, bin.frequency});
    reliable.push_back(std::move(line));
  }
  const report::Series diagonal{"chance", {{0, 0}, {1, 1}}};
  roc.push_back(diagonal);
  reliable.push_back({"as said", {{0, 0}, {1, 1}}});
  page.svg(curve("ROC", "false positive rate", "true positive rate", std::move(roc)));
  page.svg(curve("Precision and recall", "recall", "precision", std::move(precision)));
  page.svg(curve("Reliability: what is said against what happens", "probability said",
                 "share that came true", std::move(reliable)));
}

void value_plots(const RowReport& r, report::HtmlPage& page) {
  const task::OwnUnits units = task::own_units(*r.pipeline, *r.rows);
  // Ordered by what is said: the truth's mean and spread in twenty slices.
  std::vector<size_t> order(units.targets.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return units.predictions[a] < units.predictions[b]; });
  report::Series said{"said", {}}, mean{"truth, mean", {}}, low{"truth, lowest tenth", {}},
      high{"truth, highest tenth", {}};
  constexpr size_t kSlices = 20;
  for (size_t slice = 0; slice < kSlices; ++slice) {
    const size_t begin = order.size() * slice / kSlices;
    const size_t end = order.size() * (slice + 1) / kSlices;
    if (begin == end) continue;
    std::vector<double> truths;
    double predicted = 0, sum = 0;
    for (size_t i = begin; i < end; ++i) {
      truths.push_back(units.targets[order[i]]);
      predicted += units.predictions[order[i]];
      sum += truths.back();
    }
    std::sort(truths.begin(), truths.end());
    const double x = predicted / static_cast<double>(truths.size());
    said.points.push_back({x, x});
    mean.points.push_back({x, sum / static_cast<double>(truths.size())});
    low.points.push_back({x, truths[truths.size() / 10]});
    high.points.push_back({x, truths[truths.size() - 1 - truths.size() / 10]});
  }
  page.heading("Predictions and truth");
  page.svg(curve("Truth against prediction, by twentieths of the rows", "prediction",
                 r.pipeline->target, {said, mean, low, high}));
}

report::Rows column_rows(const RowReport& r) {
  report::Rows rows;
  for (const data::ColumnFacts& facts : r.facts) {
    const bool target = facts.name == r.pipeline->target;
    rows.push_back(
        {facts.name, target ? "target" : std::string(data::name(facts.type)), facts.reason,
         with_commas(static_cast<int64_t>(facts.missing)),
         with_commas(static_cast<int64_t>(facts.distinct)) + (facts.distinct_more ? "+" : "")});
  }
  return rows;
}

report::Rows part_rows(const RowReport& r) {
  report::Rows rows;
  for (const auto& [part, count] : r.pipeline->record.counts)
    rows.push_back({part, with_commas(static_cast<int64_t>(count))});
  const auto how = r.pipeline->record.split.find("how");
  if (how != r.pipeline->record.split.end()) rows.push_back({"divided", how->second});
  return rows;
}

}  // namespace

std::string row_report_html(const RowReport& r) {
  report::HtmlPage page("Training report: " + r.name);
  page.paragraph(r.headline);
  page.table(score_header(r), score_table(r));
  page.heading("Training");
  page.table({"what", "result"}, run_rows(r));
  page.svg(loss_plot(r));
  if (r.pipeline->task == "classify") {
    class_plots(r, page);
  } else {
    value_plots(r, page);
  }
  page.heading("Data");
  page.table({"part", "rows"}, part_rows(r));
  page.table({"column", "type", "why", "missing", "different values"}, column_rows(r));
  page.heading("Options");
  report::Rows options;
  for (const run::OptionInfo& info : run::option_table()) {
    options.push_back({std::string(info.key), std::string(r.options->text(info.key)),
                       std::string(r.options->who(info.key))});
  }
  page.table({"key", "value", "decided by"}, options);
  return page.str();
}

std::string row_model_card(const RowReport& r) {
  const bool classify = r.pipeline->task == "classify";
  std::string out = fmt::format(
      "---\nlibrary_name: quern\npipeline_tag: tabular-{}\n---\n\n# {}\n\nA transformer over "
      "columns "
      "({} parameters), trained from scratch with Quern to {} '{}'.\n\n## Result\n\n{}\n\n",
      classify ? "classification" : "regression", r.name, with_commas(r.parameters),
      classify ? "tell" : "estimate", r.pipeline->target, r.headline);
  out += report::markdown_table(score_header(r), score_table(r));
  out += "\n" + report::markdown_table({"what", "result"}, run_rows(r));
  out += "\n## Data\n\n" + report::markdown_table({"part", "rows"}, part_rows(r));
  out += "\n" + report::markdown_table({"column", "type", "why", "missing", "different values"},
                                       column_rows(r));
  out +=
      "\nPreprocessing was fitted on the training rows alone. The validation rows were never "
      "trained "
      "on, but they chose the kept step and the calibration, so the figures above are slightly "
      "optimistic: score a file that training never saw with `quern evaluate`.\n\n## Use\n\n```\n"
      "quern predict . NEW.csv\n```\n\n## Limits\n\nThe model knows rows like those of its "
      "training "
      "data. It repeats what stands in them, unfairness included; it does not say what causes "
      "what. "
      "A value outside what training saw counts as the nearest it knows, a category that it never "
      "saw as unknown.\n";
  return out;
}

}  // namespace quern::train
