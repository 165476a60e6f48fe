#include "quern/data/row_split.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <unordered_map>

#include "quern/base/error.h"
#include "quern/base/hash.h"
#include "quern/data/time_style.h"

namespace quern::data {
namespace {

constexpr size_t kGroupsEach = 2;  // different rows on a side, at least

/// Rows that must stay together, with what orders and stratifies them.
struct Group {
  std::vector<size_t> rows;
  uint64_t key = 0;     // pseudo-random place, from content and seed
  std::string stratum;  // the target of its first row
};

uint64_t features_hash(const Table& table, size_t row, const std::vector<bool>& features) {
  uint64_t hash = 0;
  for (size_t column = 0; column < table.columns().size(); ++column) {
    if (features[column]) hash = hash64(table.cell(row, column), hash + column + 1);
  }
  return hash;
}

/// Groups of one row: few different rows fill no folds.
std::vector<Group> each_alone(const std::vector<Group>& groups, const Table& table, size_t target,
                              bool stratify) {
  std::vector<Group> alone;
  for (const Group& group : groups) {
    for (const size_t row : group.rows) {
      alone.push_back({{row}, group.key, stratify ? std::string(table.cell(row, target)) : ""});
    }
  }
  return alone;
}

/// One group for each different row (or value of `by`), in the order of their first rows. Rows that
/// are too alike to fill `sides` are groups of their own.
std::vector<Group> group_rows(const Table& table, const std::vector<size_t>& rows, size_t target,
                              const std::vector<size_t>& beside, int by, bool stratify,
                              uint64_t seed, size_t sides) {
  std::vector<bool> features(table.columns().size(), true);
  features[target] = false;
  for (const size_t column : beside) features[column] = false;
  std::vector<Group> groups;
  std::unordered_map<uint64_t, size_t> known;
  for (const size_t row : rows) {
    const uint64_t hash = by >= 0 ? hash64(table.cell(row, static_cast<size_t>(by)))
                                  : features_hash(table, row, features);
    const auto [it, made] = known.emplace(hash, groups.size());
    if (made) {
      groups.emplace_back();
      groups.back().key = hash64({reinterpret_cast<const char*>(&hash), sizeof hash}, seed);
      if (stratify) groups.back().stratum = table.cell(row, target);
    }
    groups[it->second].rows.push_back(row);
  }
  if (by < 0 && groups.size() < kGroupsEach * sides)
    return each_alone(groups, table, target, stratify);
  return groups;
}

/// Hands out groups, stratum by stratum, so that each side has its share of the rows. Where a
/// stratum has too few for that, who has least of all rows comes first: else rare classes would
/// all go to the first sides.
void deal(std::vector<Group>& groups, const std::vector<double>& shares,
          std::vector<std::vector<size_t>*> sides) {
  std::map<std::string, std::vector<const Group*>> strata;
  for (const Group& group : groups) strata[group.stratum].push_back(&group);
  for (auto& [stratum, members] : strata) {
    std::sort(members.begin(), members.end(), [](const Group* a, const Group* b) {
      return a->key != b->key ? a->key < b->key : a->rows.front() < b->rows.front();
    });
    size_t total = 0;
    for (const Group* group : members) total += group->rows.size();
    // Whoever is furthest behind its share takes the next group.
    std::vector<double> held(shares.size(), 0);
    constexpr size_t kFewEach = 4;
    const bool few = total < kFewEach * shares.size();
    for (const Group* group : members) {
      size_t neediest = 0;
      double most = -1e300;
      for (size_t i = 0; i < shares.size(); ++i) {
        const double need = shares[i] * static_cast<double>(total) - held[i];
        const double rank = shares[i] > 0 ? need / shares[i] : -1e300;
        const bool tie = few && rank == most && rank > -1e300;
        if (rank > most ||
            (tie && static_cast<double>(sides[i]->size()) / shares[i] <
                        static_cast<double>(sides[neediest]->size()) / shares[neediest])) {
          most = rank;
          neediest = i;
        }
      }
      held[neediest] += static_cast<double>(group->rows.size());
      sides[neediest]->insert(sides[neediest]->end(), group->rows.begin(), group->rows.end());
    }
  }
  for (auto* side : sides) std::sort(side->begin(), side->end());
}

int column_of(const Table& table, std::string_view name, std::string_view mode) {
  const int column = table.find(name);
  if (column < 0) {
    throw UsageError("unknown_column", fmt::format("data.split = {}: no column '{}'", mode, name),
                     "name a column of the data");
  }
  return column;
}

/// Rows in the order of a column of dates or numbers.
std::vector<size_t> in_order(const Table& table, std::vector<size_t> rows, int column) {
  const TimeStyle style(table, static_cast<size_t>(column), table.rows());
  std::vector<std::pair<double, size_t>> keyed;
  keyed.reserve(rows.size());
  for (const size_t row : rows) {
    const std::string_view cell = table.cell(row, static_cast<size_t>(column));
    const auto value = style.read(cell);
    if (!value) {
      throw Error("unreadable_column",
                  fmt::format("{}: '{}' is neither a date nor a number to divide by",
                              table.where(row), cell),
                  "mend the value, or choose another data.split");
    }
    keyed.emplace_back(*value, row);
  }
  std::stable_sort(keyed.begin(), keyed.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::transform(keyed.begin(), keyed.end(), rows.begin(), [](const auto& k) { return k.second; });
  return rows;
}

void cut(const std::vector<size_t>& ordered, const RowSplitOptions& options, RowSplit& split) {
  const auto count = static_cast<double>(ordered.size());
  const auto test = static_cast<size_t>(std::llround(count * options.test));
  const auto validation = static_cast<size_t>(std::llround(count * options.validation));
  const size_t train = ordered.size() - std::min(ordered.size(), test + validation);
  const auto at = [&](size_t i) { return ordered.begin() + static_cast<ptrdiff_t>(i); };
  split.train.assign(at(0), at(train));
  split.validation.assign(at(train), at(train + validation));
  split.test.assign(at(train + validation), ordered.end());
  for (auto* side : {&split.train, &split.validation, &split.test})
    std::sort(side->begin(), side->end());
}

}  // namespace

RowSplit split_rows(const Table& table, const std::vector<size_t>& rows, size_t target,
                    const RowSplitOptions& options, const std::vector<size_t>& beside) {
  if (options.validation < 0 || options.test < 0 || options.validation + options.test >= 1) {
    throw UsageError("bad_value", "data.validation and data.test leave nothing to train on",
                     "shares that add up to less than 1");
  }
  RowSplit split;
  const std::string_view mode = options.mode;
  if (mode == "contiguous") {
    cut(rows, options, split);
    split.reason = "the last rows are held out (data.split = contiguous)";
  } else if (mode.starts_with("time:")) {
    cut(in_order(table, rows, column_of(table, mode.substr(5), mode)), options, split);
    split.reason = fmt::format("the latest rows by '{}' are held out", mode.substr(5));
  } else if (mode == "auto" || mode == "random" || mode == "stratified" ||
             mode.starts_with("group:")) {
    const int by = mode.starts_with("group:") ? column_of(table, mode.substr(6), mode) : -1;
    const bool stratify = mode == "stratified" || (mode == "auto" && options.classes);
    auto groups = group_rows(table, rows, target, beside, by, stratify, options.seed, 2);
    split.repeats = by < 0 ? rows.size() - groups.size() : 0;
    deal(groups, {1 - options.validation - options.test, options.validation, options.test},
         {&split.train, &split.validation, &split.test});
    split.reason = by >= 0    ? fmt::format("whole groups of '{}'", mode.substr(6))
                   : stratify ? "at random, each class by its share"
                              : "at random";
    if (split.repeats > 0) {
      split.reason += fmt::format("; {} repeated rows stay with their first", split.repeats);
    }
  } else {
    throw UsageError("bad_value", fmt::format("data.split = {} is no way to divide rows", mode),
                     "auto, random, stratified, contiguous, time:COLUMN or group:COLUMN");
  }
  if (split.train.empty() || (options.validation > 0 && split.validation.empty())) {
    throw Error("too_few_rows",
                fmt::format("{} rows cannot be divided into training and validation", rows.size()),
                "give more rows, or another data.validation");
  }
  return split;
}

std::vector<std::vector<size_t>> fold_rows(const Table& table, const std::vector<size_t>& rows,
                                           size_t target, bool classes, size_t count, uint64_t seed,
                                           const std::vector<size_t>& beside) {
  if (count < 2 || rows.size() < count) {
    throw UsageError("bad_value", fmt::format("{} rows cannot make {} folds", rows.size(), count),
                     "at least two folds, and a row for each");
  }
  std::vector<std::vector<size_t>> folds(count);
  std::vector<std::vector<size_t>*> sides;
  for (auto& fold : folds) sides.push_back(&fold);
  auto groups = group_rows(table, rows, target, beside, -1, classes, seed, count);
  deal(groups, std::vector<double>(count, 1.0 / static_cast<double>(count)), sides);
  return folds;
}

std::vector<uint32_t> fold_of_rows(const Table& table, const std::vector<size_t>& rows,
                                   size_t target, bool classes, uint32_t count, uint64_t seed,
                                   const std::vector<size_t>& beside) {
  std::vector<uint32_t> fold_of(table.rows(), 0);
  uint32_t number = 0;
  for (const auto& fold : fold_rows(table, rows, target, classes, count, seed, beside)) {
    for (const size_t row : fold) fold_of[row] = number;
    ++number;
  }
  std::vector<uint32_t> out;
  for (const size_t row : rows) out.push_back(fold_of[row]);
  return out;
}

}  // namespace quern::data
