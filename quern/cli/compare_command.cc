#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "quern/base/error.h"
#include "quern/cli/command.h"
#include "quern/cli/command_list.h"
#include "quern/formats/json.h"
#include "quern/train/comparison.h"

namespace quern::cli {
namespace {

using nlohmann::ordered_json;

std::string to_json(const train::Comparison& c, const std::vector<train::ComparedRun>& runs) {
  ordered_json each = ordered_json::array(), figures = ordered_json::array(),
               options = ordered_json::object();
  for (const train::ComparedRun& run : runs)
    each.push_back({{"run", run.name}, {"task", run.task}, {"data_fingerprint", run.fingerprint}});
  for (const train::ComparedFigure& figure : c.figures) {
    ordered_json values = ordered_json::array();
    for (const std::optional<double>& value : figure.values)
      values.push_back(value ? ordered_json(*value) : ordered_json(nullptr));
    ordered_json one{{"name", figure.name}, {"values", std::move(values)}};
    one["best"] = figure.best < 0 ? ordered_json(nullptr)
                                  : ordered_json(c.names[static_cast<size_t>(figure.best)]);
    figures.push_back(std::move(one));
  }
  for (const train::ComparedOption& option : c.options) options[option.key] = option.values;
  const ordered_json json{{"runs", std::move(each)},
                          {"figures", std::move(figures)},
                          {"options", std::move(options)},
                          {"warnings", c.warnings}};
  return formats::json_text(json);
}

std::string line(std::string_view first, const std::vector<std::string>& cells, size_t head,
                 const std::vector<size_t>& widths) {
  std::string out = fmt::format("{:<{}}", first, head);
  for (size_t i = 0; i < cells.size(); ++i) out += fmt::format("  {:>{}}", cells[i], widths[i]);
  return out + "\n";
}

std::string to_text(const train::Comparison& c) {
  size_t head = 8;
  for (const train::ComparedFigure& figure : c.figures) head = std::max(head, figure.name.size());
  for (const train::ComparedOption& option : c.options) head = std::max(head, option.key.size());
  std::vector<size_t> widths;
  for (size_t i = 0; i < c.names.size(); ++i) {
    widths.push_back(std::max<size_t>(12, c.names[i].size()));
    for (const train::ComparedOption& option : c.options)
      widths[i] = std::max(widths[i], option.values[i].size());
  }
  std::string out;
  for (const std::string& warning : c.warnings) out += "mind: " + warning + "\n";
  out += line("", c.names, head, widths);
  for (const train::ComparedFigure& figure : c.figures) {
    std::vector<std::string> cells;
    for (size_t i = 0; i < figure.values.size(); ++i) {
      cells.push_back((figure.best == static_cast<int>(i) ? "* " : "") +
                      train::figure_text(figure.values[i]));
    }
    out += line(figure.name, cells, head, widths);
  }
  out += "* the best of a row\n";
  if (c.options.empty()) return out + "the options are the same\n";
  out += "\n" + line("options that differ", c.names, head, widths);
  for (const train::ComparedOption& option : c.options)
    out += line(option.key, option.values, head, widths);
  return out;
}

int run_compare(Invocation& invocation, const std::vector<std::string>& folders,
                const std::string& html) {
  if (folders.size() < 2)
    throw UsageError("one_run", "one run has nothing to stand beside", "name two runs or more");
  std::vector<train::ComparedRun> runs;
  runs.reserve(folders.size());
  for (const std::string& folder : folders) runs.push_back(train::read_compared(folder));
  const train::Comparison comparison = train::compare(runs);
  if (!html.empty()) write_output(invocation, html, train::comparison_html(comparison, runs));
  if (html != "-")
    invocation.print(invocation.json ? to_json(comparison, runs) : to_text(comparison));
  return 0;
}

}  // namespace

Action declare_compare(Arguments& arguments, Invocation&) {
  auto folders = std::make_shared<std::vector<std::string>>();
  auto html = std::make_shared<std::string>();
  arguments.value("RUN", *folders, "Finished runs, two or more").required();
  arguments.value("--html", *html, "Also write the comparison as one HTML page").type_name("FILE");
  return [folders, html](Invocation& in) { return run_compare(in, *folders, *html); };
}

}  // namespace quern::cli
