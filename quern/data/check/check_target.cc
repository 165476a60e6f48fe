#include "quern/data/check/check_target.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "quern/data/check/check_columns.h"
#include "quern/data/check/column_strength.h"

namespace quern::data {
namespace {

constexpr size_t kLeakageRows = 200'000, kLeakageClasses = 20, kFewestRows = 10;
constexpr double kGivesAway = 0.99, kStrong = 0.8;

void check_balance(Checking& checking, const CheckedColumn& checked) {
  const Frequency& most = checked.frequencies.front();
  const Frequency& least = checked.frequencies.back();
  const size_t classes = checked.frequencies.size();
  size_t single = 0, rows = 0;
  for (const Frequency& one : checked.frequencies) {
    single += one.rows == 1 ? 1 : 0;
    rows += one.rows;
  }
  if (classes > kMostClasses) {
    checking.found("balance", Severity::kSevere, checking.check.target,
                   fmt::format("{} classes: training takes {} at most", classes, kMostClasses));
  }
  if (single > 0) {
    checking.found("balance", Severity::kSevere, checking.check.target,
                   fmt::format("{} of {} classes have one row only, as '{}': training stops at "
                               "them, for they cannot be both learnt and checked",
                               single, classes, least.label));
  }
  const double even = 1 / static_cast<double>(classes);
  if (share(least.rows, rows) >= 0.2 * even) return;
  checking.found("balance", Severity::kWarning, checking.check.target,
                 fmt::format("classes are uneven: '{}' has {} rows ({:.1f} %), '{}' {} ({:.1f} %); "
                             "judge by AUC or balanced accuracy, and see --metric",
                             most.label, most.rows, 100 * share(most.rows, rows), least.label,
                             least.rows, 100 * share(least.rows, rows)));
}

TargetView read_target(const Checking& checking, size_t column) {
  TargetView target;
  target.classes = checking.check.classes;
  std::map<std::string, int32_t, std::less<>> ids;
  if (target.classes) {
    const auto& frequencies = checking.check.columns[column].frequencies;
    for (size_t i = 0; i < std::min(kLeakageClasses, frequencies.size()); ++i)
      ids.emplace(frequencies[i].label, static_cast<int32_t>(i));
    target.count = ids.size();
  }
  for (const size_t row : thinned(checking.check.rows, kLeakageRows)) {
    const std::string_view cell = checking.table.cell(row, column);
    if (target.classes) {
      const auto id = ids.find(cell);
      if (id == ids.end()) continue;
      target.labels.push_back(id->second);
    } else {
      const double value = value_of(checking.facts(column), cell);
      if (std::isnan(value)) continue;
      target.values.push_back(value);
    }
    target.rows.push_back(row);
  }
  return target;
}

void judge_strength(Checking& checking, const ColumnFacts& facts, double strength) {
  const bool classes = checking.check.classes;
  const std::string measure = fmt::format("{} {:.3f}", classes ? "AUC" : "R²", strength);
  if (strength >= kGivesAway) {
    checking.found("leakage", Severity::kSevere, facts.name,
                   fmt::format("this column alone all but gives {} ({}): was it filled in after "
                               "the answer was known? Leave it out with --set data.types.{}=ignore",
                               checking.check.target, measure, facts.name));
  } else if (strength >= kStrong) {
    checking.found("leakage", Severity::kNote, facts.name,
                   fmt::format("this column alone is strong ({}): known at decision time? If not, "
                               "leave it out with --set data.types.{}=ignore",
                               measure, facts.name));
  }
}

void check_strengths(Checking& checking, size_t column) {
  const TargetView target = read_target(checking, column);
  if (target.rows.size() < kFewestRows) return;
  for (size_t i = 0; i < checking.check.columns.size(); ++i) {
    const ColumnFacts& facts = checking.facts(i);
    if (i == column || !(is_ordered(facts) || facts.type == ColumnType::kCategory)) continue;
    const double strength = column_strength(checking.table, i, facts, target);
    checking.check.columns[i].strength = strength;
    judge_strength(checking, facts, strength);
  }
  const int image = image_column(checking.check);
  if (image < 0 || checking.sizes.empty()) return;
  const double strength = name_strength(checking.sizes, target);
  CheckedColumn& pictures = checking.check.columns[static_cast<size_t>(image)];
  pictures.strength = strength;
  if (strength < kStrong) return;
  checking.found("leakage", strength >= kGivesAway ? Severity::kSevere : Severity::kNote,
                 pictures.facts.name,
                 fmt::format("the size of a picture alone tells {} ({} {:.3f}): were the classes "
                             "gathered from different places? Scaled to one size, what else sets "
                             "them apart may remain",
                             checking.check.target, target.classes ? "AUC" : "R²", strength));
}

/// Which rows have an answer, and whether it is one of the kind that was asked for.
void check_answers(Checking& checking, size_t column) {
  const ColumnFacts& facts = checking.facts(column);
  const bool classes = checking.check.classes;
  size_t missing = 0, unreadable = 0, example = 0;
  for (size_t row = 0; row < checking.check.rows; ++row) {
    const std::string_view cell = checking.table.cell(row, column);
    if (lacks_target(cell, classes)) {
      ++missing;
    } else if (!classes && !parse_written_number(cell) && unreadable++ == 0) {
      example = row;
    }
  }
  if (missing > 0) {
    checking.found(
        "target_missing", Severity::kWarning, facts.name,
        fmt::format("{} rows have no {}: training leaves them out", missing, facts.name));
  }
  if (unreadable > 0) {
    checking.found("target_unreadable", Severity::kSevere, facts.name,
                   fmt::format("{} values are no numbers, as '{}' ({}): training stops there",
                               unreadable, checking.table.cell(example, column).substr(0, 60),
                               checking.table.where(example)));
  }
}

}  // namespace

void check_target(Checking& checking) {
  const auto column = static_cast<size_t>(checking.target);
  const ColumnFacts& facts = checking.facts(column);
  const std::string& task = checking.options.task;
  checking.check.classes = task == "classify" || (task != "regress" && is_class_target(facts));
  check_answers(checking, column);
  if (facts.distinct <= 1) {
    checking.found("target_constant", Severity::kSevere, facts.name,
                   "the target has one value only: there is nothing to learn");
    return;
  }
  if (checking.check.classes) {
    if (is_ordered(facts)) count_categories(checking, column);
    check_balance(checking, checking.check.columns[column]);
  }
  check_strengths(checking, column);
}

}  // namespace quern::data
