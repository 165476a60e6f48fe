#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "quern/base/error.h"
#include "quern/cli/command.h"
#include "quern/cli/command_list.h"
#include "quern/data/data_check.h"
#include "quern/data/table_reader.h"

namespace quern::cli {
namespace {

using nlohmann::ordered_json;

constexpr int kFound = 3;  // the exit code of a check that found something severe

struct Flags {
  std::vector<std::string> data;
  std::string against, html;
};

std::string dump(const ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::string to_json(const data::DataCheck& check) {
  ordered_json columns = ordered_json::array(), findings = ordered_json::array();
  for (const data::CheckedColumn& column : check.columns) {
    const data::ColumnFacts& facts = column.facts;
    ordered_json one{{"name", facts.name},         {"type", data::name(facts.type)},
                     {"reason", facts.reason},     {"missing", facts.missing},
                     {"distinct", facts.distinct}, {"unreadable", facts.unreadable}};
    if (facts.type == data::ColumnType::kNumber) {
      one["minimum"] = facts.minimum;
      one["maximum"] = facts.maximum;
    }
    if (column.strength) one[check.classes ? "auc_alone" : "r2_alone"] = *column.strength;
    columns.push_back(std::move(one));
  }
  for (const data::Finding& one : check.findings) {
    findings.push_back({{"kind", one.kind},
                        {"severity", data::name(one.severity)},
                        {"where", one.where},
                        {"detail", one.detail}});
  }
  return dump({{"rows", check.rows}, {"columns", columns}, {"findings", findings}});
}

std::string to_text(const data::DataCheck& check) {
  std::string text = fmt::format("{} rows, {} columns\n", check.rows, check.columns.size());
  size_t width = 6;
  for (const data::CheckedColumn& column : check.columns)
    width = std::max(width, std::min<size_t>(30, column.facts.name.size()));
  for (const data::CheckedColumn& column : check.columns) {
    const data::ColumnFacts& facts = column.facts;
    text +=
        fmt::format("  {:<{}}  {:<9} {}{}\n", facts.name, width,
                    facts.name == check.target ? "target" : data::name(facts.type), facts.reason,
                    facts.missing > 0 ? fmt::format("; {} missing", facts.missing) : "");
  }
  if (check.findings.empty())
    return text + "nothing was found that speaks against training on it\n";
  for (const data::Finding& one : check.findings)
    text +=
        fmt::format("{}: {}: {}: {}\n", data::name(one.severity), one.kind, one.where, one.detail);
  return text;
}

int run_check(Invocation& invocation, const Flags& flags) {
  const std::vector<fs::path> paths(flags.data.begin(), flags.data.end());
  const data::Table table =
      data::read_table(paths, table_options(invocation), *invocation.reporter);
  invocation.reporter->progress(
      fmt::format("looking at {} rows of {} columns", table.rows(), table.columns().size()));
  data::DataCheck check =
      data::check_table(table, invocation.options.text("data.target"),
                        data::parse_type_overrides(invocation.options.text("data.types")));
  if (!flags.against.empty()) {
    const std::vector<fs::path> other_path = {flags.against};
    const data::Table other =
        data::read_table(other_path, table_options(invocation), *invocation.reporter);
    data::check_against(check, table, other, fs::path(flags.against).filename().string());
  }
  if (!flags.html.empty()) {
    write_output(invocation, flags.html,
                 data::check_html(check, fs::path(flags.data.front()).filename().string()));
  }
  if (flags.html != "-") invocation.print(invocation.json ? to_json(check) : to_text(check));
  return check.severe() ? kFound : 0;
}

}  // namespace

Action declare_check(CLI::App& app, Invocation& invocation) {
  auto flags = std::make_shared<Flags>();
  app.add_option("DATA", flags->data, "A table, or several files with the same columns")
      ->required();
  add_option_flag(app, invocation, "--target", "data.target");
  add_table_flag(app, invocation);
  app.add_option("--against", flags->against, "Another table: tells which rows stand in both")
      ->type_name("OTHER");
  app.add_option("--html", flags->html, "Also write the report as one HTML page")
      ->type_name("FILE");
  app.footer("Exits with 3 when a finding is severe.");
  return [flags](Invocation& in) { return run_check(in, *flags); };
}

}  // namespace quern::cli
