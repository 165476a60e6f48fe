#include "quern/explain/drift.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "quern/data/number.h"

namespace quern::explain {
namespace {

using features::NumberFeature;
using features::NumberSource;

constexpr size_t kBins = 10;
constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();

double value_of(const NumberFeature& feature, std::string_view cell) {
  if (data::is_missing_number(cell)) return kMissing;
  if (feature.source == NumberSource::kValue) {
    return data::parse_written_number(cell).value_or(kMissing);
  }
  const auto date = data::parse_date(cell, feature.date_style);
  return date ? static_cast<double>(*date) : kMissing;
}

/// Values that are there; how many are not goes to `missing`.
std::vector<double> values_of(const NumberFeature& feature, const RowsOf& of, size_t& missing) {
  std::vector<double> values;
  const auto column = static_cast<size_t>(of.table->find(feature.column));
  for (const size_t row : of.rows) {
    const double value = value_of(feature, of.table->cell(row, column));
    if (std::isnan(value)) {
      ++missing;
    } else {
      values.push_back(value);
    }
  }
  return values;
}

double share(size_t part, size_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

std::vector<double> histogram(std::span<const double> values, std::span<const double> cuts,
                              size_t missing) {
  std::vector<double> counts(cuts.size() + 2, 0.0);
  for (const double value : values) {
    ++counts[static_cast<size_t>(std::ranges::upper_bound(cuts, value) - cuts.begin())];
  }
  counts.back() = static_cast<double>(missing);
  return counts;
}

void judge(ColumnDrift& drift, std::vector<double> before, std::vector<double> after,
           double limit) {
  // Bins that neither side uses say nothing.
  for (size_t i = before.size(); i-- > 0;) {
    if (before[i] + after[i] > 0) continue;
    before.erase(before.begin() + static_cast<std::ptrdiff_t>(i));
    after.erase(after.begin() + static_cast<std::ptrdiff_t>(i));
  }
  drift.stability = population_stability(before, after);
  drift.by_chance =
      stability_by_chance(before.size(), std::accumulate(before.begin(), before.end(), 0.0),
                          std::accumulate(after.begin(), after.end(), 0.0));
  drift.drifted = drift.stability > limit && drift.stability > drift.by_chance;
}

ColumnDrift number_drift(const NumberFeature& feature, const RowsOf& training, const RowsOf& fresh,
                         double limit) {
  size_t missing_before = 0, missing_after = 0;
  std::vector<double> before = values_of(feature, training, missing_before);
  std::vector<double> after = values_of(feature, fresh, missing_after);
  ColumnDrift drift;
  drift.name = feature.column;
  drift.number = true;
  drift.missing_before = share(missing_before, training.rows.size());
  drift.missing_after = share(missing_after, fresh.rows.size());
  std::ranges::sort(before);
  std::vector<double> cuts;
  for (size_t bin = 1; bin < kBins && !before.empty(); ++bin) {
    const double cut = before[before.size() * bin / kBins];
    if (cuts.empty() || cut > cuts.back()) cuts.push_back(cut);
  }
  judge(drift, histogram(before, cuts, missing_before), histogram(after, cuts, missing_after),
        limit);
  drift.ks = kolmogorov_smirnov(std::move(before), std::move(after));
  return drift;
}

ColumnDrift category_drift(const features::CategoryFeature& feature, const RowsOf& training,
                           const RowsOf& fresh, double limit) {
  ColumnDrift drift;
  drift.name = feature.column;
  const auto count = [&](const RowsOf& of, double& missing) {
    std::vector<double> counts(static_cast<size_t>(feature.size()), 0.0);
    const auto column = static_cast<size_t>(of.table->find(feature.column));
    size_t empty = 0;
    for (const size_t row : of.rows) {
      const std::string_view cell = of.table->cell(row, column);
      empty += data::is_missing(cell) ? 1 : 0;
      ++counts[static_cast<size_t>(feature.id(data::is_missing(cell) ? "" : cell))];
    }
    missing = share(empty, of.rows.size());
    return counts;
  };
  std::vector<double> before = count(training, drift.missing_before);
  judge(drift, std::move(before), count(fresh, drift.missing_after), limit);
  return drift;
}

}  // namespace

double population_stability(std::span<const double> before, std::span<const double> after) {
  const auto total = [](std::span<const double> counts) {
    return std::accumulate(counts.begin(), counts.end(), 0.5 * static_cast<double>(counts.size()));
  };
  const double n = total(before), m = total(after);
  double sum = 0;
  for (size_t i = 0; i < before.size(); ++i) {
    const double p = (before[i] + 0.5) / n, q = (after[i] + 0.5) / m;
    sum += (q - p) * std::log(q / p);
  }
  return sum;
}

double stability_by_chance(size_t bins, double before_rows, double after_rows) {
  if (bins < 2 || before_rows <= 0 || after_rows <= 0) return 0;
  // Wilson & Hilferty 1931; 3.09 is the normal's .999 quantile.
  const double k = static_cast<double>(bins - 1), spread = 2 / (9 * k);
  return k * std::pow(1 - spread + 3.0902 * std::sqrt(spread), 3) *
         (1 / before_rows + 1 / after_rows);
}

double kolmogorov_smirnov(std::vector<double> a, std::vector<double> b) {
  if (a.empty() || b.empty()) return kMissing;
  std::ranges::sort(a);
  std::ranges::sort(b);
  double largest = 0;
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    const double at = std::min(a[i], b[j]);
    while (i < a.size() && a[i] == at) ++i;
    while (j < b.size() && b[j] == at) ++j;
    largest = std::max(largest, std::abs(share(i, a.size()) - share(j, b.size())));
  }
  return largest;
}

std::vector<ColumnDrift> column_drift(const features::ColumnEncoder& columns,
                                      const RowsOf& training, const RowsOf& fresh, double limit) {
  std::vector<ColumnDrift> drifts;
  for (const NumberFeature& feature : columns.numbers()) {
    // The parts of a date follow one another and tell one story.
    if (!drifts.empty() && drifts.back().name == feature.column) continue;
    drifts.push_back(number_drift(feature, training, fresh, limit));
  }
  for (const features::CategoryFeature& feature : columns.categories()) {
    drifts.push_back(category_drift(feature, training, fresh, limit));
  }
  std::ranges::stable_sort(
      drifts, [](const ColumnDrift& a, const ColumnDrift& b) { return a.stability > b.stability; });
  return drifts;
}

}  // namespace quern::explain
