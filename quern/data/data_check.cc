#include "quern/data/data_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <unordered_map>

#include "quern/base/error.h"
#include "quern/base/hash.h"
#include "quern/base/strings.h"
#include "quern/data/text_overlap.h"
#include "quern/report/bar_plot.h"
#include "quern/report/html.h"

namespace quern::data {
namespace {

constexpr size_t kLeakageRows = 200'000, kNearTexts = 100'000;
constexpr size_t kRanges = 20, kBins = 32, kMostCategories = 1000, kMostClasses = 20;
constexpr size_t kFolds = 5;
constexpr double kGivesAway = 0.99, kStrong = 0.8, kStrongValue = 0.8;
constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();

double share(size_t part, size_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

double value_of(const ColumnFacts& facts, std::string_view cell) {
  if (is_missing_number(cell)) return kMissing;
  if (facts.type == ColumnType::kDate) {
    const auto date = parse_date(cell, facts.date_style);
    return date ? static_cast<double>(*date) : kMissing;
  }
  return parse_written_number(cell).value_or(kMissing);
}

bool is_ordered(const ColumnFacts& facts) {
  return facts.type == ColumnType::kNumber || facts.type == ColumnType::kDate;
}

/// Every `stride`-th row, so that at most `most` remain.
std::vector<size_t> thinned(size_t rows, size_t most) {
  const size_t stride = std::max<size_t>(1, (rows + most - 1) / most);
  std::vector<size_t> out;
  for (size_t row = 0; row < rows; row += stride) out.push_back(row);
  return out;
}

/// A hash of some columns of a row; cells keep their borders.
uint64_t row_hash(const Table& table, size_t row, std::span<const size_t> columns) {
  uint64_t hash = 0;
  for (const size_t column : columns) hash = hash64(table.cell(row, column), hash + 1);
  return hash;
}

std::string label_of(const ColumnFacts& facts, double value) {
  if (facts.type != ColumnType::kDate) return fmt::format("{:.4g}", value);
  const DateParts parts = date_parts(static_cast<int64_t>(value));
  return fmt::format("{:04d}-{:02d}-{:02d}", parts.year, parts.month, parts.day);
}

/// The area under the ROC curve of scores, ties counted half.
double area(const std::vector<double>& scores, const std::vector<int32_t>& classes, int32_t of) {
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] < scores[b]; });
  double wins = 0, below = 0, positives = 0;
  for (size_t i = 0; i < order.size();) {
    double here = 0, others = 0;
    size_t end = i;
    for (; end < order.size() && scores[order[end]] == scores[order[i]]; ++end)
      (classes[order[end]] == of ? here : others) += 1;
    wins += here * (below + others / 2);
    below += others;
    positives += here;
    i = end;
  }
  return positives == 0 || below == 0 ? 0.5 : wins / (positives * below);
}

/// What the target says of the rows looked at: a class, or a value.
struct Target {
  bool classes = false;
  size_t count = 0;  // of classes
  std::vector<size_t> rows;
  std::vector<int32_t> labels;  // (rows)
  std::vector<double> values;   // (rows)
};

/// The column's cells as few groups: ranges of equal share, or the commonest categories.
std::vector<size_t> grouped(const Table& table, size_t column, const ColumnFacts& facts,
                            const std::vector<size_t>& rows, size_t& groups) {
  std::vector<size_t> out(rows.size());
  if (is_ordered(facts)) {
    std::vector<double> values(rows.size()), sorted;
    for (size_t i = 0; i < rows.size(); ++i) {
      values[i] = value_of(facts, table.cell(rows[i], column));
      if (!std::isnan(values[i])) sorted.push_back(values[i]);
    }
    std::sort(sorted.begin(), sorted.end());
    std::vector<double> cuts;
    for (size_t bin = 1; bin < kBins && !sorted.empty(); ++bin)
      cuts.push_back(sorted[sorted.size() * bin / kBins]);
    cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
    for (size_t i = 0; i < rows.size(); ++i) {
      out[i] = std::isnan(values[i])
                   ? cuts.size() + 1
                   : static_cast<size_t>(std::upper_bound(cuts.begin(), cuts.end(), values[i]) -
                                         cuts.begin());
    }
    groups = cuts.size() + 2;
    return out;
  }
  std::unordered_map<std::string, size_t> ids;
  for (size_t i = 0; i < rows.size(); ++i) {
    const std::string cell(table.cell(rows[i], column));
    const auto found = ids.find(cell);
    if (found != ids.end()) {
      out[i] = found->second;
    } else if (ids.size() < kMostCategories) {
      out[i] = ids.size() + 1;
      ids.emplace(cell, out[i]);
    }
  }
  groups = ids.size() + 1;
  return out;
}

/// Each row's class is told from the other folds' counts in its group.
double class_strength(const Target& target, const std::vector<size_t>& group, size_t groups) {
  const size_t classes = target.count;
  std::vector<double> all(groups * classes), fold(kFolds * groups * classes);
  std::vector<double> prior(classes);
  for (size_t i = 0; i < group.size(); ++i) {
    const size_t at = group[i] * classes + static_cast<size_t>(target.labels[i]);
    all[at] += 1;
    fold[(i % kFolds) * groups * classes + at] += 1;
    prior[static_cast<size_t>(target.labels[i])] += 1 / static_cast<double>(group.size());
  }
  double sum = 0;
  const size_t from = classes == 2 ? 1 : 0;
  std::vector<double> scores(group.size());
  for (size_t of = from; of < classes; ++of) {
    for (size_t i = 0; i < group.size(); ++i) {
      double rows = 0, hits = 0;
      for (size_t k = 0; k < classes; ++k) {
        const size_t at = group[i] * classes + k;
        const double left = all[at] - fold[(i % kFolds) * groups * classes + at];
        rows += left;
        hits += k == of ? left : 0;
      }
      scores[i] = (hits + prior[of]) / (rows + 1);
    }
    sum += area(scores, target.labels, static_cast<int32_t>(of));
  }
  return sum / static_cast<double>(classes - from);
}

double value_strength(const Target& target, const std::vector<size_t>& group, size_t groups) {
  std::vector<double> sums(groups), counts(groups);
  std::vector<double> fold_sums(kFolds * groups), fold_counts(kFolds * groups);
  double mean = 0;
  for (size_t i = 0; i < group.size(); ++i) {
    const size_t at = (i % kFolds) * groups + group[i];
    sums[group[i]] += target.values[i];
    counts[group[i]] += 1;
    fold_sums[at] += target.values[i];
    fold_counts[at] += 1;
    mean += target.values[i] / static_cast<double>(group.size());
  }
  double errors = 0, spread = 0;
  for (size_t i = 0; i < group.size(); ++i) {
    const size_t at = (i % kFolds) * groups + group[i];
    const double guess =
        (sums[group[i]] - fold_sums[at] + mean) / (counts[group[i]] - fold_counts[at] + 1);
    errors += (target.values[i] - guess) * (target.values[i] - guess);
    spread += (target.values[i] - mean) * (target.values[i] - mean);
  }
  return spread == 0 ? 0 : std::max(0.0, 1 - errors / spread);
}

std::vector<double> ranks(const std::vector<double>& values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> out(values.size());
  for (size_t i = 0; i < order.size();) {
    size_t end = i;
    while (end < order.size() && values[order[end]] == values[order[i]]) ++end;
    for (size_t k = i; k < end; ++k) out[order[k]] = static_cast<double>(i + end - 1) / 2;
    i = end;
  }
  return out;
}

/// Squared rank correlation (Spearman 1904) where both are there: sees a copy in other units, which
/// few ranges do not.
double rank_strength(const Table& table, size_t column, const ColumnFacts& facts,
                     const Target& target) {
  std::vector<double> x, y;
  for (size_t i = 0; i < target.rows.size(); ++i) {
    const double value = value_of(facts, table.cell(target.rows[i], column));
    if (std::isnan(value)) continue;
    x.push_back(value);
    y.push_back(target.values[i]);
  }
  if (x.size() < target.rows.size() / 2 || x.size() < 3) return 0;
  const std::vector<double> a = ranks(x), b = ranks(y);
  const double mean = static_cast<double>(x.size() - 1) / 2;
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean) * (b[i] - mean);
    aa += (a[i] - mean) * (a[i] - mean);
    bb += (b[i] - mean) * (b[i] - mean);
  }
  return aa == 0 || bb == 0 ? 0 : ab * ab / (aa * bb);
}

/// One check of one table, part by part.
class Checker {
 public:
  Checker(const Table& table, std::string_view target, const TypeOverrides& overrides)
      : table_(table) {
    check_.rows = table.rows();
    check_.target = target;
    if (!target.empty()) {
      target_column_ = table.find(target);
      if (target_column_ < 0) {
        const std::vector<std::string> names(table.columns().begin(), table.columns().end());
        const auto near = nearest(target, names);
        throw UsageError("no_target", fmt::format("there is no column '{}'", target),
                         near ? fmt::format("did you mean '{}'?", *near)
                              : "name a column of the table with --target");
      }
    }
    for (ColumnFacts& facts : infer_types(table, overrides)) {
      CheckedColumn column;
      column.facts = std::move(facts);
      check_.columns.push_back(std::move(column));
    }
  }

  DataCheck run() {
    for (size_t i = 0; i < check_.columns.size(); ++i) look_at(i);
    find_repeats();
    find_near_repeats();
    if (target_column_ >= 0) judge_target();
    std::stable_sort(check_.findings.begin(), check_.findings.end(),
                     [](const Finding& a, const Finding& b) { return a.severity > b.severity; });
    return std::move(check_);
  }

 private:
  void found(std::string kind, Severity severity, std::string where, std::string detail) {
    check_.findings.push_back({std::move(kind), severity, std::move(where), std::move(detail)});
  }

  void look_at(size_t index) {
    CheckedColumn& column = check_.columns[index];
    const ColumnFacts& facts = column.facts;
    const bool is_target = static_cast<int>(index) == target_column_;
    const double missing = share(facts.missing, check_.rows);
    if (facts.missing > 0 && !is_target) {
      found("missing", missing > 0.5 ? Severity::kWarning : Severity::kNote, facts.name,
            fmt::format("{} of {} values are missing ({:.1f} %){}", facts.missing, check_.rows,
                        100 * missing, missing > 0.5 ? "; is the column worth keeping?" : ""));
    }
    if (facts.unreadable > 0) {
      found(
          "unreadable", Severity::kWarning, facts.name,
          fmt::format("{} values are no {}, as '{}' ({}); they count as missing", facts.unreadable,
                      name(facts.type), facts.unreadable_example, facts.unreadable_where));
    }
    if (!is_target && facts.type == ColumnType::kConstant)
      found("constant", Severity::kNote, facts.name, facts.reason + ": left out of training");
    if (!is_target && facts.type == ColumnType::kId)
      found("identifier", Severity::kNote, facts.name, facts.reason + ": left out of training");
    if (is_ordered(facts)) {
      look_at_values(index, column);
    } else if (facts.type == ColumnType::kCategory || is_target) {
      count_categories(index, column);
    }
  }

  void look_at_values(size_t index, CheckedColumn& column) {
    const ColumnFacts& facts = column.facts;
    std::vector<double> values;
    std::vector<size_t> rows;
    bool rising = true;
    for (size_t row = 0; row < check_.rows; ++row) {
      const double value = value_of(facts, table_.cell(row, index));
      if (std::isnan(value)) continue;
      if (!values.empty() && value < values.back()) rising = false;
      values.push_back(value);
      rows.push_back(row);
    }
    if (values.empty()) return;
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    const double least = *low, most = *high;
    const double width = (most - least) / kRanges;
    column.frequencies.resize(width > 0 ? kRanges : 1);
    for (size_t i = 0; i < column.frequencies.size(); ++i) {
      // The labels of a plot's ends are its range.
      column.frequencies[i].label = label_of(facts, i + 1 == column.frequencies.size()
                                                        ? most
                                                        : least + width * static_cast<double>(i));
    }
    for (const double value : values) {
      const size_t at = width > 0 ? static_cast<size_t>((value - least) / width) : 0;
      column.frequencies[std::min(at, column.frequencies.size() - 1)].rows += 1;
    }
    if (facts.type == ColumnType::kDate) {
      if (rising && facts.distinct > 2) {
        found("date_order", Severity::kNote, facts.name,
              fmt::format("the rows are in order of this date, {} to {}; to judge by the future, "
                          "hold out the latest with --set data.split=time:{}",
                          label_of(facts, least), label_of(facts, most), facts.name));
      }
      // 1900 and 2100, in seconds since 1970.
      if (least < -2208988800.0 || most > 4102444800.0) {
        found("date_range", Severity::kWarning, facts.name,
              fmt::format("dates reach from {} to {}: is one of them a slip or a stand-in?",
                          label_of(facts, least), label_of(facts, most)));
      }
      return;
    }
    std::vector<double> sorted = values;
    std::sort(sorted.begin(), sorted.end());
    const double first = sorted[sorted.size() / 4], third = sorted[sorted.size() * 3 / 4];
    const double reach = 3 * (third - first);
    if (reach <= 0) return;
    size_t far = 0, example = 0;
    double farthest = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      const double beyond = std::max(first - reach - values[i], values[i] - third - reach);
      if (beyond <= 0) continue;
      ++far;
      if (beyond > farthest) {
        farthest = beyond;
        example = i;
      }
    }
    if (far == 0) return;
    // A long tail is no slip; a few far values may be.
    found("outliers", share(far, values.size()) < 0.001 ? Severity::kWarning : Severity::kNote,
          facts.name,
          fmt::format("{} values lie more than three interquartile ranges off the middle half "
                      "[{:.4g}, {:.4g}]; the farthest is {:.6g} ({})",
                      far, first, third, values[example], table_.where(rows[example])));
  }

  void count_categories(size_t index, CheckedColumn& column) {
    std::unordered_map<std::string, size_t> counts;
    for (size_t row = 0; row < check_.rows; ++row) {
      const std::string_view cell = table_.cell(row, index);
      if (!is_missing(cell) && (counts.size() < 100'000 || counts.contains(std::string(cell))))
        counts[std::string(cell)] += 1;
    }
    for (const auto& [label, rows] : counts) column.frequencies.push_back({label, rows});
    std::sort(column.frequencies.begin(), column.frequencies.end(),
              [](const Frequency& a, const Frequency& b) {
                return a.rows != b.rows ? a.rows > b.rows : a.label < b.label;
              });
    size_t rare = 0;
    for (const Frequency& one : column.frequencies) rare += one.rows < 3 ? 1 : 0;
    if (static_cast<int>(index) != target_column_ && column.frequencies.size() > 1000) {
      found("cardinality", Severity::kNote, column.facts.name,
            fmt::format("{} different values, {} of them in one or two rows; rare ones count as "
                        "unknown",
                        column.frequencies.size(), rare));
    }
  }

  std::vector<size_t> features() const {
    std::vector<size_t> out;
    for (size_t i = 0; i < check_.columns.size(); ++i) {
      if (static_cast<int>(i) != target_column_ && check_.columns[i].facts.type != ColumnType::kId)
        out.push_back(i);
    }
    return out;
  }

  void find_repeats() {
    const std::vector<size_t> columns = features();
    if (columns.empty()) return;
    std::vector<std::pair<uint64_t, size_t>> rows(check_.rows);
    for (size_t row = 0; row < check_.rows; ++row)
      rows[row] = {row_hash(table_, row, columns), row};
    std::sort(rows.begin(), rows.end());
    size_t repeats = 0, contradictions = 0;
    size_t example = 0, earlier = 0;
    const auto answer = [&](size_t row) {
      return table_.cell(row, static_cast<size_t>(target_column_));
    };
    for (size_t i = 1, first = 0; i < rows.size(); ++i) {
      if (rows[i].first != rows[first].first) {
        first = i;
        continue;
      }
      if (repeats++ == 0) {
        example = rows[i].second;
        earlier = rows[first].second;
      }
      if (target_column_ >= 0 && answer(rows[i].second) != answer(rows[first].second))
        ++contradictions;
    }
    if (repeats > 0) {
      found(
          "duplicates", share(repeats, check_.rows) > 0.05 ? Severity::kWarning : Severity::kNote,
          table_.where(example),
          fmt::format("{} rows ({:.1f} %) repeat an earlier one{}, as {}; training keeps them on "
                      "one side of the split",
                      repeats, 100 * share(repeats, check_.rows),
                      target_column_ >= 0 ? " in all but the target" : "", table_.where(earlier)));
    }
    if (contradictions > 0) {
      found("contradictions", Severity::kNote, check_.target,
            fmt::format("{} repeated rows have another {} than the first: no model can tell them "
                        "apart",
                        contradictions, check_.target));
    }
  }

  void find_near_repeats() {
    for (size_t i = 0; i < check_.columns.size(); ++i) {
      if (check_.columns[i].facts.type != ColumnType::kText ||
          static_cast<int>(i) == target_column_)
        continue;
      const std::vector<size_t> rows = thinned(check_.rows, kNearTexts);
      std::vector<std::vector<uint64_t>> texts;
      texts.reserve(rows.size());
      for (const size_t row : rows) texts.push_back(shingles(table_.cell(row, i)));
      const std::vector<NearRepeat> repeats = near_repeats(texts);
      if (repeats.empty()) continue;
      const NearRepeat& one = repeats.front();
      found("near_duplicates", Severity::kNote, check_.columns[i].facts.name,
            fmt::format("{} of {} texts nearly repeat an earlier one (four fifths of their runs of "
                        "five words), as {} and {}; training may see what validation asks",
                        repeats.size(), rows.size(), table_.where(rows[one.text]),
                        table_.where(rows[one.earlier])));
    }
  }

  void judge_target() {
    const auto column = static_cast<size_t>(target_column_);
    CheckedColumn& checked = check_.columns[column];
    const ColumnFacts& facts = checked.facts;
    const bool number = facts.type == ColumnType::kNumber;
    // The rule of training: few values are classes.
    check_.classes = !(number && (facts.distinct_more || facts.distinct > 20 || !facts.integers)) ||
                     facts.distinct <= 2;
    if (facts.missing > 0) {
      found("target_missing", Severity::kWarning, facts.name,
            fmt::format("{} rows have no {}: training leaves them out", facts.missing, facts.name));
    }
    if (facts.distinct <= 1) {
      found("target_constant", Severity::kSevere, facts.name,
            "the target has one value only: there is nothing to learn");
      return;
    }
    if (check_.classes) {
      if (is_ordered(facts)) {
        checked.frequencies.clear();
        count_categories(column, checked);
      }
      judge_balance(checked);
    }
    judge_columns(column, facts);
  }

  void judge_balance(const CheckedColumn& checked) {
    const Frequency& most = checked.frequencies.front();
    const Frequency& least = checked.frequencies.back();
    size_t single = 0, rows = 0;
    for (const Frequency& one : checked.frequencies) {
      single += one.rows == 1 ? 1 : 0;
      rows += one.rows;
    }
    if (single > 0) {
      found("balance",
            single * 2 > checked.frequencies.size() ? Severity::kSevere : Severity::kWarning,
            check_.target,
            fmt::format("{} of {} classes have one row only, as '{}'", single,
                        checked.frequencies.size(), least.label));
    }
    const double even = 1 / static_cast<double>(checked.frequencies.size());
    if (share(least.rows, rows) < 0.2 * even) {
      found("balance", Severity::kWarning, check_.target,
            fmt::format("classes are uneven: '{}' has {} rows ({:.1f} %), '{}' {} ({:.1f} %); "
                        "judge by AUC or balanced accuracy, and see --metric",
                        most.label, most.rows, 100 * share(most.rows, rows), least.label,
                        least.rows, 100 * share(least.rows, rows)));
    }
  }

  Target read_target(size_t column, const ColumnFacts& facts) const {
    Target target;
    target.classes = check_.classes;
    std::map<std::string, int32_t> ids;
    if (target.classes) {
      const auto& frequencies = check_.columns[column].frequencies;
      for (size_t i = 0; i < std::min(kMostClasses, frequencies.size()); ++i)
        ids.emplace(frequencies[i].label, static_cast<int32_t>(i));
      target.count = ids.size();
    }
    for (const size_t row : thinned(check_.rows, kLeakageRows)) {
      const std::string_view cell = table_.cell(row, column);
      if (target.classes) {
        const auto id = ids.find(std::string(cell));
        if (id == ids.end()) continue;
        target.labels.push_back(id->second);
      } else {
        const double value = value_of(facts, cell);
        if (std::isnan(value)) continue;
        target.values.push_back(value);
      }
      target.rows.push_back(row);
    }
    return target;
  }

  void judge_columns(size_t column, const ColumnFacts& facts) {
    const Target target = read_target(column, facts);
    if (target.rows.size() < 2 * kFolds) return;
    for (size_t i = 0; i < check_.columns.size(); ++i) {
      const ColumnFacts& one = check_.columns[i].facts;
      if (i == column || !(is_ordered(one) || one.type == ColumnType::kCategory)) continue;
      size_t groups = 0;
      const std::vector<size_t> group = grouped(table_, i, one, target.rows, groups);
      double strength = target.classes ? class_strength(target, group, groups)
                                       : value_strength(target, group, groups);
      if (!target.classes && is_ordered(one))
        strength = std::max(strength, rank_strength(table_, i, one, target));
      check_.columns[i].strength = strength;
      const std::string measure = fmt::format("{} {:.3f}", target.classes ? "AUC" : "R²", strength);
      if (strength >= kGivesAway) {
        found("leakage", Severity::kSevere, one.name,
              fmt::format("this column alone all but gives {} ({}): was it filled in after the "
                          "answer was known? Leave it out with --set data.types.{}=ignore",
                          check_.target, measure, one.name));
      } else if (strength >= (target.classes ? kStrong : kStrongValue)) {
        found("leakage", Severity::kNote, one.name,
              fmt::format("this column alone is strong ({}): known at decision time? If not, leave "
                          "it out with --set data.types.{}=ignore",
                          measure, one.name));
      }
    }
  }

  const Table& table_;
  int target_column_ = -1;
  DataCheck check_;
};

}  // namespace

std::string_view name(Severity severity) {
  constexpr std::array<std::string_view, 3> kNames = {"note", "warning", "severe"};
  return kNames.at(static_cast<size_t>(severity));
}

bool DataCheck::severe() const {
  return std::any_of(findings.begin(), findings.end(),
                     [](const Finding& one) { return one.severity == Severity::kSevere; });
}

DataCheck check_table(const Table& table, std::string_view target, const TypeOverrides& overrides) {
  return Checker(table, target, overrides).run();
}

void check_against(DataCheck& check, const Table& table, const Table& other,
                   std::string_view other_name) {
  std::vector<size_t> here, there;
  std::string lacking, further;
  const auto add = [](std::string& list, const std::string& column) {
    list += (list.empty() ? "" : ", ") + column;
  };
  for (const CheckedColumn& column : check.columns) {
    const int found = other.find(column.facts.name);
    if (found < 0 && column.facts.name != check.target) add(lacking, column.facts.name);
    if (found < 0 || column.facts.name == check.target || column.facts.type == ColumnType::kId ||
        column.facts.type == ColumnType::kIgnore)
      continue;
    here.push_back(static_cast<size_t>(table.find(column.facts.name)));
    there.push_back(static_cast<size_t>(found));
  }
  for (const std::string& column : other.columns())
    if (table.find(column) < 0) add(further, column);
  std::vector<Finding> found;
  if (!lacking.empty() || !further.empty()) {
    found.push_back({"columns", Severity::kWarning, std::string(other_name),
                     lacking.empty() ? "has further columns: " + further
                     : further.empty()
                         ? "lacks columns: " + lacking
                         : "lacks columns: " + lacking + "; has further: " + further});
  }
  if (!here.empty()) {
    std::vector<std::pair<uint64_t, size_t>> rows(table.rows());
    for (size_t row = 0; row < table.rows(); ++row) rows[row] = {row_hash(table, row, here), row};
    std::sort(rows.begin(), rows.end());
    size_t shared = 0, example = 0, twin = 0;
    for (size_t row = 0; row < other.rows(); ++row) {
      const uint64_t hash = row_hash(other, row, there);
      const auto at = std::lower_bound(rows.begin(), rows.end(), std::pair{hash, size_t{0}});
      if (at == rows.end() || at->first != hash) continue;
      if (shared++ == 0) {
        example = row;
        twin = at->second;
      }
    }
    if (shared > 0) {
      found.push_back(
          {"shared_rows",
           share(shared, other.rows()) >= 0.01 ? Severity::kSevere : Severity::kWarning,
           other.where(example),
           fmt::format("{} of {} rows of {} also stand here{}, as {}: scores on them flatter a "
                       "model that trained on the others",
                       shared, other.rows(), other_name,
                       check.target.empty() ? "" : " (in all but the target)", table.where(twin))});
    }
  }
  check.findings.insert(check.findings.end(), found.begin(), found.end());
  std::stable_sort(check.findings.begin(), check.findings.end(),
                   [](const Finding& a, const Finding& b) { return a.severity > b.severity; });
}

std::string check_html(const DataCheck& check, std::string_view title) {
  report::HtmlPage page("Data report: " + std::string(title));
  page.paragraph(fmt::format("{} rows, {} columns{}.", check.rows, check.columns.size(),
                             check.target.empty() ? "" : "; target: " + check.target));
  page.heading("Findings");
  report::Rows findings;
  for (const Finding& one : check.findings)
    findings.push_back({std::string(name(one.severity)), one.kind, one.where, one.detail});
  if (findings.empty()) {
    page.paragraph("Nothing was found that speaks against training on this table.");
  } else {
    page.table({"severity", "kind", "where", "what"}, findings);
  }
  page.heading("Columns");
  report::Rows columns;
  for (const CheckedColumn& column : check.columns) {
    const ColumnFacts& facts = column.facts;
    columns.push_back({facts.name,
                       facts.name == check.target ? "target" : std::string(name(facts.type)),
                       facts.reason, std::to_string(facts.missing),
                       std::to_string(facts.distinct) + (facts.distinct_more ? "+" : ""),
                       column.strength ? fmt::format("{:.3f}", *column.strength) : "-"});
  }
  page.table({"column", "type", "why", "missing", "different values",
              check.classes ? "AUC alone" : "R² alone"},
             columns);
  page.heading("Values");
  for (const CheckedColumn& column : check.columns) {
    if (column.frequencies.empty()) continue;
    std::vector<report::Bar> bars;
    for (size_t i = 0; i < std::min(kRanges, column.frequencies.size()); ++i)
      bars.push_back(
          {column.frequencies[i].label, static_cast<double>(column.frequencies[i].rows)});
    page.svg(report::bars_to_svg(column.facts.name, bars));
  }
  return page.str();
}

}  // namespace quern::data
