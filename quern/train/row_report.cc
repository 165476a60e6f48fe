#include "quern/train/row_report.h"

#include <fmt/format.h>

#include <cmath>

#include "quern/train/row_errors.h"
#include "quern/train/row_plots.h"

namespace quern::train {
namespace {

std::string score_of(const std::vector<metrics::Score>& scores, const std::string& name) {
  const double value = metrics::value_of(scores, name);
  return std::isfinite(value) ? fmt::format("{:.4f}", value) : "-";
}

}  // namespace

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
  report::Rows rows = training_rows(r.run);
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

std::string row_report_html(const RowReport& r) {
  report::HtmlPage page("Training report: " + r.name);
  page.paragraph(r.headline);
  page.table(score_header(r), score_table(r));
  page.heading("Training");
  page.table({"what", "result"}, run_rows(r));
  add_curves(page, r.run);
  if (r.pipeline->task == "classify") {
    add_class_plots(page, *r.pipeline, *r.rows);
  } else {
    add_value_plots(page, *r.pipeline, *r.rows);
  }
  add_errors(page, r);
  page.heading("Data");
  page.table({"part", "rows"}, part_rows(r));
  page.table({"column", "type", "why", "missing", "different values"}, column_rows(r));
  add_options(page, *r.run.options);
  return page.str();
}

}  // namespace quern::train
