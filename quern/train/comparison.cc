#include "quern/train/comparison.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "quern/base/error.h"
#include "quern/formats/json.h"
#include "quern/run/options.h"
#include "quern/run/run_folder.h"
#include "quern/train/report_parts.h"

namespace quern::train {
namespace {

/// Every number below an object, by its path; lists are left out.
void flatten(const nlohmann::json& json, const std::string& path,
             std::map<std::string, double>& out) {
  for (const auto& [key, value] : json.items()) {
    std::string name = path;
    if (!name.empty()) name += '.';
    name += key;
    if (value.is_number()) {
      out[name] = value.get<double>();
    } else if (value.is_object()) {
      flatten(value, name, out);
    }
  }
}

enum class Better : int { kLow = -1, kNeither = 0, kHigh = 1 };

Better direction(std::string_view name) {
  constexpr std::array<std::string_view, 9> kLow = {
      "loss", "rmse", "mae", "brier", "ece", "log_loss", "bits_per_byte", "perplexity", "seconds"};
  constexpr std::array<std::string_view, 7> kHigh = {
      "accuracy", "balanced_accuracy", "auc", "average_precision", "f1", "r2", "mrr"};
  if (name.starts_with("baseline.") || name.starts_with("train.")) return Better::kNeither;
  const std::string_view last = name.substr(name.rfind('.') + 1);
  if (std::find(kLow.begin(), kLow.end(), last) != kLow.end()) return Better::kLow;
  const bool high = std::find(kHigh.begin(), kHigh.end(), last) != kHigh.end() ||
                    last.starts_with("hr@") || last.starts_with("ndcg@") ||
                    last.starts_with("coverage@") || last.ends_with("_per_second");
  return high ? Better::kHigh : Better::kNeither;
}

int best_of(const std::vector<std::optional<double>>& values, Better better) {
  if (better == Better::kNeither) return -1;
  int best = -1;
  bool tie = false;
  for (size_t i = 0; i < values.size(); ++i) {
    if (!values[i]) continue;
    if (best < 0) {
      best = static_cast<int>(i);
      continue;
    }
    const double lead = *values[i] - *values[static_cast<size_t>(best)];
    if (lead == 0) tie = true;
    if (better == Better::kHigh ? lead > 0 : lead < 0) {
      best = static_cast<int>(i);
      tie = false;
    }
  }
  const auto there = std::count_if(values.begin(), values.end(),
                                   [](const std::optional<double>& v) { return v.has_value(); });
  return tie || there < 2 ? -1 : best;
}

/// Scores first, then their baselines, then how training went.
int place(std::string_view name) {
  if (name.starts_with("validation.")) return 0;
  if (name.starts_with("baseline.")) return 1;
  if (name.starts_with("train.")) return 2;
  return 3;
}

/// What decides which rows or interactions a score is taken on, beside the data itself. Of texts
/// the fingerprint holds it.
constexpr std::array<std::string_view, 11> kDividing = {
    "data.table", "data.target", "data.validation", "data.test", "data.split",    "data.folds",
    "seed",       "data.user",   "data.item",       "data.time", "data.min_count"};

/// The keys in which two runs on the same data differ so that they were scored on other rows.
std::vector<std::string_view> divided_by(const ComparedRun& a, const ComparedRun& b) {
  std::vector<std::string_view> keys;
  const auto text = [](const ComparedRun& run, std::string_view key) {
    const auto found = run.options.find(std::string(key));
    return found == run.options.end() ? std::string_view() : std::string_view(found->second);
  };
  if (a.task == "generate") return keys;
  const std::string_view split = text(a, "data.split");
  const bool drawn = a.task != "recommend" && split != "contiguous" && !split.starts_with("time:");
  const bool shared = a.task != "recommend" || split == "time";
  for (const std::string_view key : kDividing) {
    if (key == "seed" ? !drawn : key == "data.validation" && !shared) continue;
    if (text(a, key) != text(b, key)) keys.push_back(key);
  }
  return keys;
}

std::vector<std::string> reasons_against(std::span<const ComparedRun> runs) {
  std::vector<std::string> out;
  const ComparedRun& first = runs.front();
  for (const ComparedRun& run : runs.subspan(1)) {
    if (run.task != first.task) {
      out.push_back(fmt::format("{} learnt to {}, {} to {}: their scores do not compare",
                                first.name, first.task, run.name, run.task));
    } else if (run.fingerprint != first.fingerprint) {
      out.push_back(
          fmt::format("{} and {} learnt from different data: their scores do not compare "
                      "unless both are evaluated on the same file (quern evaluate)",
                      first.name, run.name));
    } else if (run.split != first.split) {
      out.push_back(
          fmt::format("{} and {} divided the data differently: their validation rows are "
                      "not the same",
                      first.name, run.name));
    } else if (const auto keys = divided_by(first, run); !keys.empty()) {
      out.push_back(fmt::format(
          "{} and {} were not scored on the same rows, for they differ in {}: evaluate both on one "
          "file that neither has seen (quern evaluate)",
          first.name, run.name, fmt::join(keys, ", ")));
    }
  }
  for (const ComparedRun& run : runs) {
    if (run.rounded.empty()) continue;
    out.push_back(
        fmt::format("the weights of {} are rounded ({}), its scores were taken before: see "
                    "what it answers now with quern evaluate",
                    run.name, run.rounded));
  }
  return out;
}

report::Rows figure_rows(const Comparison& c) {
  report::Rows rows;
  for (const ComparedFigure& figure : c.figures) {
    std::vector<std::string>& row = rows.emplace_back();
    row.push_back(figure.name);
    for (size_t i = 0; i < figure.values.size(); ++i) {
      row.push_back(figure_text(figure.values[i]) +
                    (figure.best == static_cast<int>(i) ? " ★" : ""));
    }
  }
  return rows;
}

}  // namespace

std::string figure_text(const std::optional<double>& value) {
  if (!value || !std::isfinite(*value)) return "-";
  constexpr double kWhole = 1e15;
  if (std::abs(*value) < kWhole && *value == std::floor(*value))
    return with_commas(static_cast<int64_t>(*value));
  return std::abs(*value) < 1000 ? fmt::format("{:.4f}", *value) : fmt::format("{:.0f}", *value);
}

ComparedRun read_compared(const fs::path& folder) {
  ComparedRun run;
  run.name = folder.string();
  const std::string pipeline =
      run::read_part(folder, run::kPipelineFile, "which prepares the data");
  const run::Pipeline record =
      run::pipeline_from_json(pipeline, (folder / run::kPipelineFile).string());
  run.task = record.task;
  run.fingerprint = record.data_fingerprint;
  run.split = record.split;
  run.split.erase("sources");  // where the data stood, not how it was divided
  if (const DType kind = run::quantization_of(folder); is_quantized(kind)) run.rounded = name(kind);
  const std::string metrics =
      run::read_part(folder, run::kMetricsFile, "which a finished run leaves");
  flatten(formats::parse_json(metrics, (folder / run::kMetricsFile).string()), "", run.figures);
  // How the machine was used is no figure of the model.
  for (const char* machine : {"share_of_peak", "planned_bytes", "allocated_bytes"})
    run.figures.erase(machine);
  const run::Options resolved = run::options_of(folder);
  for (const run::OptionInfo& info : run::option_table())
    run.options[std::string(info.key)] = resolved.text(info.key);
  run.losses = read_log(folder / run::kLogFile);
  return run;
}

Comparison compare(std::span<const ComparedRun> runs) {
  Comparison out;
  std::set<std::pair<int, std::string>> names;
  for (const ComparedRun& run : runs) {
    out.names.push_back(run.name);
    for (const auto& [name, value] : run.figures) names.emplace(place(name), name);
  }
  for (const auto& [at, name] : names) {
    ComparedFigure figure;
    figure.name = name;
    for (const ComparedRun& run : runs) {
      const auto found = run.figures.find(name);
      figure.values.push_back(found == run.figures.end() ? std::nullopt
                                                         : std::optional(found->second));
    }
    figure.best = best_of(figure.values, direction(name));
    out.figures.push_back(std::move(figure));
  }
  for (const auto& first : runs.front().options) {
    ComparedOption option{first.first, {}};
    for (const ComparedRun& run : runs) option.values.push_back(run.options.at(first.first));
    const bool differs =
        std::any_of(option.values.begin(), option.values.end(),
                    [&](const std::string& value) { return value != first.second; });
    if (differs) out.options.push_back(std::move(option));
  }
  out.warnings = reasons_against(runs);
  return out;
}

std::string comparison_html(const Comparison& c, std::span<const ComparedRun> runs) {
  report::HtmlPage page("Runs side by side");
  for (const std::string& warning : c.warnings) page.paragraph("Mind: " + warning + ".");
  std::vector<std::string> header = {"figure"};
  header.insert(header.end(), c.names.begin(), c.names.end());
  page.table(header, figure_rows(c));
  page.paragraph(
      "★ the best of a row. Scores of the validation part; their intervals stand in each "
      "run's report.");
  page.heading("Validation loss");
  std::vector<report::Series> series;
  for (const ComparedRun& run : runs) {
    report::Series& one = series.emplace_back();
    one.name = run.name;
    for (const EvaluationRecord& e : run.losses.evaluations)
      one.points.push_back({static_cast<double>(e.step), e.validation_loss});
  }
  page.svg(report::to_svg(plot("", "step", "validation loss", std::move(series))));
  page.heading("Options that differ");
  header.front() = "key";
  report::Rows rows;
  for (const ComparedOption& option : c.options) {
    std::vector<std::string>& row = rows.emplace_back();
    row.push_back(option.key);
    row.insert(row.end(), option.values.begin(), option.values.end());
  }
  page.table(header, rows);
  return page.str();
}

}  // namespace quern::train
