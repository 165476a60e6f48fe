#include "quern/explain/global.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "quern/base/strings.h"
#include "quern/report/terminal_bars.h"

namespace quern::explain {
namespace {

/// A word by itself, whatever space leads to it.
std::string name_of(const ExplainedPart& part) {
  const std::string_view word = trim(part.name);
  return part.kind != "word" || word.empty() ? part.name : std::string(word);
}

/// Mean over all rows of each row's |phi| of one part, rows that lack it counting 0.
metrics::Interval importance_of(std::span<const double> row_sums, uint64_t seed) {
  return metrics::bootstrap(
      row_sums.size(),
      [&](std::span<const float> counts) {
        double sum = 0, weight = 0;
        for (size_t i = 0; i < counts.size(); ++i) {
          sum += static_cast<double>(counts[i]) * row_sums[i];
          weight += static_cast<double>(counts[i]);
        }
        return sum / weight;
      },
      seed);
}

}  // namespace

GlobalExplanation summarise(std::span<const Explanation> rows, uint64_t seed) {
  GlobalExplanation global;
  global.rows = rows.size();
  global.seed = seed;
  std::map<std::pair<std::string, std::string>, size_t> places;
  std::vector<std::vector<double>> sums;  // of |phi|: part, row
  std::vector<double> errors;
  for (size_t row = 0; row < rows.size(); ++row) {
    const Explanation& e = rows[row];
    global.evaluations += e.attribution.evaluations;
    global.rows_answered += e.rows_answered;
    global.seconds += e.seconds;
    global.completeness_error =
        std::max(global.completeness_error, e.attribution.completeness_error());
    errors.insert(errors.end(), e.attribution.standard_errors.begin(),
                  e.attribution.standard_errors.end());
    for (const ExplainedPart* ranked : e.ranked()) {
      const ExplainedPart& part = *ranked;
      const std::string name = name_of(part);
      const auto [found, fresh] = places.emplace(std::pair(part.kind, name), global.parts.size());
      if (fresh) {
        global.parts.push_back({part.kind, name, {}, 0, 0, {}, {}});
        sums.emplace_back(rows.size(), 0.0);
      }
      GlobalPart& one = global.parts[found->second];
      double& sum = sums[found->second][row];
      one.rows += sum == 0 ? 1 : 0;
      one.phi.push_back(e.phi(part));
      one.values.push_back(part.value);
      one.mean += e.phi(part);
      sum += std::abs(e.phi(part));
    }
  }
  for (size_t i = 0; i < global.parts.size(); ++i) {
    global.parts[i].mean /= static_cast<double>(global.parts[i].phi.size());
    global.parts[i].importance = importance_of(sums[i], seed);
  }
  std::ranges::stable_sort(global.parts, [](const GlobalPart& a, const GlobalPart& b) {
    return a.importance.value > b.importance.value;
  });
  if (!errors.empty()) {
    std::ranges::nth_element(errors,
                             errors.begin() + static_cast<std::ptrdiff_t>(errors.size() / 2));
    global.standard_error = errors[errors.size() / 2];
  }
  if (rows.empty()) return global;
  const Explanation& first = rows.front();
  global.run = first.run;
  global.task = first.task;
  global.target = first.target;
  global.unit = first.unit;
  global.method = first.attribution.method;
  global.mask_policy = first.mask_policy;
  return global;
}

std::vector<std::string> importance_header(const GlobalExplanation& g) {
  return {"part", "mean size, " + g.unit, "95 % interval", "mean where present", "rows"};
}

report::Rows importance_rows(const GlobalExplanation& g) {
  constexpr size_t kMost = 50;
  report::Rows rows;
  for (size_t i = 0; i < std::min(kMost, g.parts.size()); ++i) {
    const GlobalPart& part = g.parts[i];
    rows.push_back({part.name, fmt::format("{:.4g}", part.importance.value),
                    fmt::format("{:.3g} to {:.3g}", part.importance.low, part.importance.high),
                    fmt::format("{:+.3g}", part.mean), fmt::format("{}", part.rows)});
  }
  return rows;
}

std::vector<std::string> sentences(const GlobalExplanation& g) {
  return {fmt::format(
              "Method: {}; {} evaluations; seed {}. Largest completeness error {:.2g}; the median "
              "standard error of one contribution is {:.2g}. Intervals of importance are by "
              "bootstrap over rows.",
              g.method, g.evaluations, g.seed, g.completeness_error, g.standard_error),
          "Hidden parts: " + g.mask_policy};
}

nlohmann::ordered_json to_json(const GlobalExplanation& g) {
  nlohmann::ordered_json json{{"run", g.run},
                              {"task", g.task},
                              {"input", g.input},
                              {"target", g.target},
                              {"unit", g.unit},
                              {"rows", g.rows},
                              {"method", g.method},
                              {"mask_policy", g.mask_policy},
                              {"importance", nlohmann::ordered_json::array()}};
  for (const GlobalPart& part : g.parts) {
    json["importance"].push_back({{"kind", part.kind},
                                  {"name", part.name},
                                  {"value", part.importance.value},
                                  {"low", part.importance.low},
                                  {"high", part.importance.high},
                                  {"mean_phi", part.mean},
                                  {"rows", part.rows}});
  }
  json["completeness_error"] = g.completeness_error;
  json["median_standard_error"] = g.standard_error;
  json["evaluations"] = g.evaluations;
  json["rows_answered"] = g.rows_answered;
  json["seconds"] = g.seconds;
  json["seed"] = g.seed;
  return json;
}

std::string terminal_text(const GlobalExplanation& g, size_t most) {
  std::string text = fmt::format(
      "{}, over {} rows of {}: the mean size of what each part contributes ({})\n"
      "Method: {}; {} evaluations; largest completeness error {:.2g}; seed {}.\n"
      "Hidden parts: {}\n\n",
      g.target, g.rows, g.input, g.unit, g.method, g.evaluations, g.completeness_error, g.seed,
      g.mask_policy);
  std::vector<report::SignedBar> bars;
  for (size_t i = 0; i < std::min(most, g.parts.size()); ++i) {
    const GlobalPart& part = g.parts[i];
    bars.push_back({part.name, part.importance.value,
                    fmt::format("{:.3g} to {:.3g}", part.importance.low, part.importance.high)});
  }
  return text + report::signed_bars(bars);
}

}  // namespace quern::explain
