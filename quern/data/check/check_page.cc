#include <fmt/format.h>

#include <algorithm>

#include "quern/data/check/data_check.h"
#include "quern/report/bar_plot.h"
#include "quern/report/html.h"

namespace quern::data {
namespace {

constexpr size_t kMostBars = 20;

report::Rows finding_rows(const DataCheck& check) {
  report::Rows rows;
  for (const Finding& one : check.findings)
    rows.push_back({std::string(name(one.severity)), one.kind, one.where, one.detail});
  return rows;
}

report::Rows column_rows(const DataCheck& check) {
  report::Rows rows;
  for (const CheckedColumn& column : check.columns) {
    const ColumnFacts& facts = column.facts;
    rows.push_back(
        {facts.name, facts.name == check.target ? "target" : std::string(name(facts.type)),
         column.summary.empty() ? facts.reason : column.summary, std::to_string(facts.missing),
         std::to_string(facts.distinct) + (facts.distinct_more ? "+" : "")});
    if (check.target.empty()) continue;
    rows.back().push_back(column.strength ? fmt::format("{:.3f}", *column.strength) : "-");
  }
  return rows;
}

std::string plot(const CheckedColumn& column) {
  std::vector<report::Bar> bars;
  for (size_t i = 0; i < std::min(kMostBars, column.frequencies.size()); ++i) {
    bars.push_back({column.frequencies[i].label, static_cast<double>(column.frequencies[i].rows)});
  }
  return report::bars_to_svg(column.measured.empty()
                                 ? column.facts.name
                                 : fmt::format("{}: {}", column.facts.name, column.measured),
                             bars);
}

}  // namespace

std::string check_html(const DataCheck& check, std::string_view title) {
  report::HtmlPage page("Data report: " + std::string(title));
  page.paragraph(fmt::format("{} rows, {} columns{}.", check.rows, check.columns.size(),
                             check.target.empty() ? "" : "; target: " + check.target));
  page.heading("Findings");
  if (check.findings.empty()) {
    page.paragraph("Nothing was found that speaks against training on it.");
  } else {
    page.table({"severity", "kind", "where", "what"}, finding_rows(check));
  }
  page.heading("Columns");
  std::vector<std::string> header = {"column", "type", "why", "missing", "different values"};
  if (!check.target.empty()) header.emplace_back(check.classes ? "AUC alone" : "R² alone");
  page.table(header, column_rows(check));
  page.heading("Values");
  for (const CheckedColumn& column : check.columns)
    if (!column.frequencies.empty()) page.svg(plot(column));
  return page.str();
}

}  // namespace quern::data
