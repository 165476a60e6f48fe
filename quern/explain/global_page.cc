#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>

#include "quern/data/number.h"
#include "quern/explain/global.h"
#include "quern/report/beeswarm.h"
#include "quern/report/html.h"

namespace quern::explain {
namespace {

constexpr size_t kShown = 15;       // parts of the beeswarm
constexpr size_t kDependences = 6;  // plots
constexpr size_t kCategories = 10;  // of a plot; the rest is "other"

/// The values as numbers, where all that are not missing are.
std::optional<std::vector<double>> numbers_of(const GlobalPart& part) {
  std::vector<double> numbers;
  bool any = false;
  for (const std::string& value : part.values) {
    const auto number = data::parse_written_number(value);
    if (!number && !data::is_missing_number(value)) return std::nullopt;
    numbers.push_back(number.value_or(std::numeric_limits<double>::quiet_NaN()));
    any = any || number.has_value();
  }
  return any ? std::optional(numbers) : std::nullopt;
}

/// Each number's place among all of them, from 0 to 1.
std::vector<double> shades_of(const GlobalPart& part) {
  const auto numbers = numbers_of(part);
  std::vector<double> shades(part.values.size(), std::numeric_limits<double>::quiet_NaN());
  if (!numbers) return shades;
  std::vector<double> sorted;
  for (const double number : *numbers)
    if (!std::isnan(number)) sorted.push_back(number);
  std::ranges::sort(sorted);
  for (size_t i = 0; i < shades.size(); ++i) {
    const double number = (*numbers)[i];
    if (std::isnan(number)) continue;
    const auto [low, high] = std::ranges::equal_range(sorted, number);
    const auto middle =
        static_cast<double>((low - sorted.begin()) + (high - sorted.begin()) - 1) / 2;
    shades[i] = sorted.size() < 2 ? 0.5 : middle / static_cast<double>(sorted.size() - 1);
  }
  return shades;
}

std::string beeswarm(const GlobalExplanation& g) {
  report::Beeswarm plot;
  plot.x_label = fmt::format("contribution to the {}", g.target);
  for (size_t i = 0; i < std::min(kShown, g.parts.size()); ++i) {
    const GlobalPart& part = g.parts[i];
    const std::vector<double> shades = shades_of(part);
    report::Beeswarm::Row& row = plot.rows.emplace_back();
    row.label = part.name;
    for (size_t j = 0; j < part.phi.size(); ++j) row.dots.push_back({part.phi[j], shades[j]});
  }
  return report::to_svg(plot);
}

std::string dependence(const GlobalExplanation& g, const GlobalPart& part) {
  report::Dependence plot;
  plot.x_label = part.name;
  plot.y_label = "contribution, " + g.unit;
  if (const auto numbers = numbers_of(part)) {
    for (size_t i = 0; i < numbers->size(); ++i)
      if (!std::isnan((*numbers)[i])) plot.dots.push_back({(*numbers)[i], part.phi[i]});
    return report::to_svg(plot);
  }
  std::map<std::string, size_t> counts;
  for (const std::string& value : part.values) ++counts[value];
  std::vector<std::pair<size_t, std::string>> ordered;
  for (const auto& [value, count] : counts) ordered.emplace_back(count, value);
  std::ranges::stable_sort(ordered, [](const auto& a, const auto& b) { return a.first > b.first; });
  std::map<std::string, size_t> place;
  for (const auto& [count, value] : ordered) {
    if (place.size() == kCategories) break;
    place.emplace(value, place.size());
    plot.categories.push_back(value.empty() ? "missing" : value);
  }
  if (ordered.size() > kCategories) plot.categories.emplace_back("other");
  for (size_t i = 0; i < part.values.size(); ++i) {
    const auto found = place.find(part.values[i]);
    const size_t at = found == place.end() ? kCategories : found->second;
    plot.dots.push_back({static_cast<double>(at), part.phi[i]});
  }
  return report::to_svg(plot);
}

}  // namespace

std::string to_html(const GlobalExplanation& g) {
  report::HtmlPage page("What matters: " + g.target);
  page.paragraph(fmt::format("{} rows of {}, each explained by itself.", g.rows, g.input));
  page.heading("Every row");
  page.svg(beeswarm(g));
  page.paragraph(
      "One dot a row. Right of the line the part raises the answer, left of it it lowers. Red: a "
      "high value of the column, blue: a low one, grey: not a number.");
  page.heading("Importance");
  page.table(importance_header(g), importance_rows(g));
  const bool columns = !g.parts.empty() && g.parts.front().kind == "column";
  if (columns) {
    page.heading("How contributions depend on values");
    std::string plots = "<div style=\"display:flex;flex-wrap:wrap\">";
    for (size_t i = 0; i < std::min(kDependences, g.parts.size()); ++i)
      if (g.parts[i].kind == "column") plots += dependence(g, g.parts[i]);
    page.svg(plots + "</div>");
  }
  page.heading("How sure this is");
  for (const std::string& line : sentences(g)) page.paragraph(line);
  return page.str();
}

}  // namespace quern::explain
