#include "quern/data/check/column_strength.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_map>

namespace quern::data {
namespace {

constexpr size_t kBins = 32, kMostCategories = 1000, kFolds = 5;

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

/// Rows in few groups.
struct Grouping {
  std::vector<size_t> of;  // (rows)
  size_t count = 0;
};

/// Ranges of equal share; missing values are a group of their own.
Grouping group_values(const Table& table, size_t column, const ColumnFacts& facts,
                      const std::vector<size_t>& rows) {
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
  Grouping out;
  for (const double value : values) {
    out.of.push_back(std::isnan(value)
                         ? cuts.size() + 1
                         : static_cast<size_t>(std::upper_bound(cuts.begin(), cuts.end(), value) -
                                               cuts.begin()));
  }
  out.count = cuts.size() + 2;
  return out;
}

/// The first thousand names; the others are one group.
template <typename NameOf>
Grouping group_names(size_t rows, NameOf name_of) {
  std::unordered_map<std::string, size_t> ids;
  Grouping out;
  out.of.resize(rows);
  for (size_t i = 0; i < rows; ++i) {
    const std::string name(name_of(i));
    const auto found = ids.find(name);
    if (found != ids.end()) {
      out.of[i] = found->second;
    } else if (ids.size() < kMostCategories) {
      out.of[i] = ids.size() + 1;
      ids.emplace(name, out.of[i]);
    }
  }
  out.count = ids.size() + 1;
  return out;
}

/// Each row's class is told from the other folds' counts in its group.
double class_strength(const TargetView& target, const std::vector<size_t>& group, size_t groups) {
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

double value_strength(const TargetView& target, const std::vector<size_t>& group, size_t groups) {
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

/// Squared rank correlation where both are there.
double rank_strength(const Table& table, size_t column, const ColumnFacts& facts,
                     const TargetView& target) {
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

double strength_of(const Grouping& groups, const TargetView& target) {
  return target.classes ? class_strength(target, groups.of, groups.count)
                        : value_strength(target, groups.of, groups.count);
}

}  // namespace

double column_strength(const Table& table, size_t column, const ColumnFacts& facts,
                       const TargetView& target) {
  if (!is_ordered(facts)) {
    return strength_of(group_names(target.rows.size(),
                                   [&](size_t i) { return table.cell(target.rows[i], column); }),
                       target);
  }
  const double strength = strength_of(group_values(table, column, facts, target.rows), target);
  return target.classes ? strength
                        : std::max(strength, rank_strength(table, column, facts, target));
}

double name_strength(const std::vector<std::string>& names, const TargetView& target) {
  return strength_of(
      group_names(target.rows.size(),
                  [&](size_t i) -> const std::string& { return names[target.rows[i]]; }),
      target);
}

}  // namespace quern::data
