#include "quern/cli/check_output.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "quern/formats/json.h"
#include "quern/report/text_width.h"

namespace quern::cli {
namespace {

using nlohmann::ordered_json;

constexpr size_t kMostFrequencies = 50;

ordered_json column_json(const data::CheckedColumn& column, bool classes) {
  const data::ColumnFacts& facts = column.facts;
  ordered_json one{{"name", facts.name},         {"type", data::name(facts.type)},
                   {"reason", facts.reason},     {"missing", facts.missing},
                   {"distinct", facts.distinct}, {"unreadable", facts.unreadable}};
  if (facts.type == data::ColumnType::kNumber) {
    one["minimum"] = facts.minimum;
    one["maximum"] = facts.maximum;
  }
  if (!column.summary.empty()) one["summary"] = column.summary;
  if (!column.measured.empty()) one["measured"] = column.measured;
  ordered_json frequencies = ordered_json::array();
  for (size_t i = 0; i < std::min(kMostFrequencies, column.frequencies.size()); ++i) {
    const data::Frequency& frequency = column.frequencies[i];
    frequencies.push_back({{"label", frequency.label}, {"rows", frequency.rows}});
  }
  one["frequencies"] = std::move(frequencies);
  if (column.strength) one[classes ? "auc_alone" : "r2_alone"] = *column.strength;
  return one;
}

}  // namespace

std::string check_json(const data::DataCheck& check) {
  ordered_json columns = ordered_json::array(), findings = ordered_json::array();
  for (const data::CheckedColumn& column : check.columns)
    columns.push_back(column_json(column, check.classes));
  for (const data::Finding& one : check.findings) {
    findings.push_back({{"kind", one.kind},
                        {"severity", data::name(one.severity)},
                        {"where", one.where},
                        {"detail", one.detail}});
  }
  const ordered_json json{{"kind", check.kind},
                          {"rows", check.rows},
                          {"columns", std::move(columns)},
                          {"findings", std::move(findings)},
                          {"severe", check.severe()}};
  return formats::json_text(json);
}

std::string check_text(const data::DataCheck& check) {
  std::string text = fmt::format("{} rows, {} columns\n", check.rows, check.columns.size());
  constexpr size_t kWidest = 30;
  size_t width = 6;
  for (const data::CheckedColumn& column : check.columns)
    width = std::max(width, std::min(kWidest, report::display_width(column.facts.name)));
  for (const data::CheckedColumn& column : check.columns) {
    const data::ColumnFacts& facts = column.facts;
    const size_t taken = std::min(width, report::display_width(facts.name));
    text += fmt::format("  {}{}  {:<9} {}{}\n", facts.name, std::string(width - taken, ' '),
                        facts.name == check.target ? "target" : data::name(facts.type),
                        column.summary.empty() ? facts.reason : column.summary,
                        facts.missing > 0 ? fmt::format("; {} missing", facts.missing) : "");
  }
  if (check.findings.empty())
    return text + "nothing was found that speaks against training on it\n";
  for (const data::Finding& one : check.findings)
    text +=
        fmt::format("{}: {}: {}: {}\n", data::name(one.severity), one.kind, one.where, one.detail);
  return text;
}

}  // namespace quern::cli
