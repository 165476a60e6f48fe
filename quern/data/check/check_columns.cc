#include "quern/data/check/check_columns.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "quern/data/check/check_texts.h"

namespace quern::data {
namespace {

constexpr size_t kRanges = 20, kMostCategories = 100'000, kManyCategories = 1000;

std::string label_of(const ColumnFacts& facts, double value) {
  if (facts.type != ColumnType::kDate) return fmt::format("{:.4g}", value);
  const DateParts parts = date_parts(static_cast<int64_t>(value));
  return fmt::format("{:04d}-{:02d}-{:02d}", parts.year, parts.month, parts.day);
}

/// The values of a number or date column that are there, with their rows.
struct Values {
  std::vector<double> values;
  std::vector<size_t> rows;
  double least = 0, most = 0;
  bool rising = true;
};

Values read_values(const Checking& checking, size_t column) {
  Values out;
  for (size_t row = 0; row < checking.check.rows; ++row) {
    const double value = value_of(checking.facts(column), checking.table.cell(row, column));
    if (std::isnan(value)) continue;
    if (!out.values.empty() && value < out.values.back()) out.rising = false;
    out.values.push_back(value);
    out.rows.push_back(row);
  }
  if (out.values.empty()) return out;
  const auto [low, high] = std::minmax_element(out.values.begin(), out.values.end());
  out.least = *low;
  out.most = *high;
  return out;
}

/// Equal ranges; the labels of a plot's ends are its range.
std::vector<Frequency> ranges_of(const ColumnFacts& facts, const Values& v) {
  // Divided first: the distance of two doubles may be more than a double holds.
  const double width = v.most / kRanges - v.least / kRanges;
  std::vector<Frequency> out(width > 0 ? kRanges : 1);
  for (size_t i = 0; i < out.size(); ++i) {
    const double share = static_cast<double>(i) / kRanges;
    out[i].label =
        label_of(facts, i + 1 == out.size() ? v.most : std::lerp(v.least, v.most, share));
  }
  for (const double value : v.values) {
    const double place = (value / kRanges - v.least / kRanges) / width * kRanges;
    const size_t at = width > 0 ? static_cast<size_t>(place) : 0;
    out[std::min(at, out.size() - 1)].rows += 1;
  }
  return out;
}

void check_dates(Checking& checking, size_t column, const Values& v) {
  const ColumnFacts& facts = checking.facts(column);
  const std::string from = label_of(facts, v.least), to = label_of(facts, v.most);
  if (v.rising && facts.distinct > 2) {
    checking.found(
        "date_order", Severity::kNote, facts.name,
        fmt::format("the rows are in order of this date, {} to {}; to judge by the future, hold "
                    "out the latest with --set data.split=time:{}",
                    from, to, facts.name));
  }
  // 1900 and 2100, in seconds since 1970.
  if (v.least < -2208988800.0 || v.most > 4102444800.0) {
    checking.found(
        "date_range", Severity::kWarning, facts.name,
        fmt::format("dates reach from {} to {}: is one of them a slip or a stand-in?", from, to));
  }
}

/// Values beyond three interquartile ranges ("far out": Tukey 1977).
void check_outliers(Checking& checking, size_t column, const Values& v) {
  std::vector<double> sorted = v.values;
  std::sort(sorted.begin(), sorted.end());
  const double first = sorted[sorted.size() / 4], third = sorted[sorted.size() * 3 / 4];
  const double reach = 3 * (third - first);
  if (reach <= 0) return;
  size_t far = 0, example = 0;
  double farthest = 0;
  for (size_t i = 0; i < v.values.size(); ++i) {
    const double beyond = std::max(first - reach - v.values[i], v.values[i] - third - reach);
    if (beyond <= 0) continue;
    ++far;
    if (beyond > farthest) {
      farthest = beyond;
      example = i;
    }
  }
  if (far == 0) return;
  // A long tail is no slip; a few far values may be.
  const bool few = share(far, v.values.size()) < 0.001;
  checking.found(
      "outliers", few ? Severity::kWarning : Severity::kNote, checking.facts(column).name,
      fmt::format("{} values lie more than three interquartile ranges off the middle half [{:.4g}, "
                  "{:.4g}]; the farthest is {:.6g} ({})",
                  far, first, third, v.values[example], checking.table.where(v.rows[example])));
}

void check_values(Checking& checking, size_t column) {
  const Values v = read_values(checking, column);
  if (v.values.empty()) return;
  CheckedColumn& checked = checking.check.columns[column];
  checked.frequencies = ranges_of(checked.facts, v);
  if (checked.facts.type == ColumnType::kDate) {
    check_dates(checking, column, v);
  } else {
    check_outliers(checking, column, v);
  }
}

void check_presence(Checking& checking, size_t column) {
  const ColumnFacts& facts = checking.facts(column);
  const size_t rows = checking.check.rows;
  const double missing = share(facts.missing, rows);
  const bool is_target = checking.is_target(column);
  if (facts.missing > 0 && !is_target) {
    checking.found(
        "missing", missing > 0.5 ? Severity::kWarning : Severity::kNote, facts.name,
        fmt::format("{} of {} values are missing ({:.1f} %){}", facts.missing, rows, 100 * missing,
                    missing > 0.5 ? "; is the column worth keeping?" : ""));
  }
  if (facts.unreadable > 0) {
    checking.found(
        "unreadable", Severity::kWarning, facts.name,
        fmt::format("{} values are no {}, as '{}' ({}); they count as missing", facts.unreadable,
                    name(facts.type), facts.unreadable_example, facts.unreadable_where));
  }
  if (is_target) return;
  if (facts.type == ColumnType::kConstant)
    checking.found("constant", Severity::kNote, facts.name,
                   facts.reason + ": left out of training");
  if (facts.type == ColumnType::kId)
    checking.found("identifier", Severity::kNote, facts.name,
                   facts.reason + ": left out of training");
}

}  // namespace

void count_categories(Checking& checking, size_t column) {
  std::unordered_map<std::string, size_t> counts;
  for (size_t row = 0; row < checking.check.rows; ++row) {
    const std::string_view cell = checking.table.cell(row, column);
    if (!is_missing(cell) &&
        (counts.size() < kMostCategories || counts.contains(std::string(cell))))
      counts[std::string(cell)] += 1;
  }
  CheckedColumn& checked = checking.check.columns[column];
  checked.frequencies.clear();
  for (const auto& [label, rows] : counts) checked.frequencies.push_back({label, rows});
  std::sort(checked.frequencies.begin(), checked.frequencies.end(),
            [](const Frequency& a, const Frequency& b) {
              return a.rows != b.rows ? a.rows > b.rows : a.label < b.label;
            });
  if (checking.is_target(column) || checked.frequencies.size() <= kManyCategories) return;
  const auto rare = std::count_if(checked.frequencies.begin(), checked.frequencies.end(),
                                  [](const Frequency& one) { return one.rows < 3; });
  checking.found("cardinality", Severity::kNote, checked.facts.name,
                 fmt::format("{} different values, {} of them in one or two rows; rare ones count "
                             "as unknown",
                             checked.frequencies.size(), rare));
}

void check_columns(Checking& checking) {
  for (size_t column = 0; column < checking.check.columns.size(); ++column) {
    check_presence(checking, column);
    const ColumnFacts& facts = checking.facts(column);
    if (is_ordered(facts)) {
      check_values(checking, column);
    } else if (facts.type == ColumnType::kCategory || checking.is_target(column)) {
      count_categories(checking, column);
    } else if (facts.type == ColumnType::kText) {
      check_texts(checking, column);
    }
  }
}

}  // namespace quern::data
