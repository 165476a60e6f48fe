#include "quern/data/check/data_check.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "quern/base/error.h"
#include "quern/base/hash.h"
#include "quern/base/strings.h"
#include "quern/data/check/check_columns.h"
#include "quern/data/check/check_pictures.h"
#include "quern/data/check/check_repeats.h"
#include "quern/data/check/check_target.h"
#include "quern/data/check/checking.h"

namespace quern::data {

std::string_view name(Severity severity) {
  constexpr std::array<std::string_view, 3> kNames = {"note", "warning", "severe"};
  return kNames.at(static_cast<size_t>(severity));
}

bool DataCheck::severe() const {
  return std::any_of(findings.begin(), findings.end(),
                     [](const Finding& one) { return one.severity == Severity::kSevere; });
}

void Checking::found(std::string kind, Severity severity, std::string where, std::string detail) {
  check.findings.push_back({std::move(kind), severity, std::move(where), std::move(detail)});
}

std::string Checking::where(size_t row) const {
  const int image = image_column(check);
  return image < 0 ? table.where(row)
                   : fmt::format("'{}'", table.cell(row, static_cast<size_t>(image)));
}

double share(size_t part, size_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

std::vector<size_t> thinned(size_t rows, size_t most) {
  const size_t stride = std::max<size_t>(1, (rows + most - 1) / most);
  std::vector<size_t> out;
  for (size_t row = 0; row < rows; row += stride) out.push_back(row);
  return out;
}

bool is_ordered(const ColumnFacts& facts) {
  return facts.type == ColumnType::kNumber || facts.type == ColumnType::kDate;
}

double value_of(const ColumnFacts& facts, std::string_view cell) {
  constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();
  if (is_missing_number(cell)) return kMissing;
  if (facts.type == ColumnType::kDate) {
    const auto date = parse_date(cell, facts.date_style);
    return date ? static_cast<double>(*date) : kMissing;
  }
  return parse_written_number(cell).value_or(kMissing);
}

uint64_t row_hash(const Table& table, size_t row, std::span<const size_t> columns, int image,
                  std::span<const uint64_t> content, std::span<const ColumnFacts* const> facts) {
  uint64_t hash = 0;
  const auto bytes_of = [](const auto& value) {
    return std::string_view(reinterpret_cast<const char*>(&value), sizeof value);
  };
  for (size_t i = 0; i < columns.size(); ++i) {
    const size_t column = columns[i];
    const bool pixels = static_cast<int>(column) == image && !content.empty();
    std::string_view cell = pixels ? bytes_of(content[row]) : table.cell(row, column);
    double value = 0;
    if (!facts.empty() && !pixels) {
      const bool ordered = is_ordered(*facts[i]);
      if (ordered ? is_missing_number(cell) : is_missing(cell)) cell = {};
      if (ordered) {
        value = value_of(*facts[i], cell) + 0.0;  // −0 is 0
        if (!std::isnan(value)) cell = bytes_of(value);
      }
    }
    hash = hash64(cell, hash + 1);
  }
  return hash;
}

int image_column(const DataCheck& check) {
  for (size_t i = 0; i < check.columns.size(); ++i)
    if (check.columns[i].facts.type == ColumnType::kImage) return static_cast<int>(i);
  return -1;
}

std::vector<Frequency> by_powers_of_two(std::span<const uint64_t> counts) {
  std::array<size_t, 65> bins{};
  for (const uint64_t count : counts) bins.at(static_cast<size_t>(std::bit_width(count))) += 1;
  size_t first = 0, last = bins.size();
  while (first < last && bins.at(first) == 0) ++first;
  while (last > first && bins.at(last - 1) == 0) --last;
  std::vector<Frequency> out;
  for (size_t bits = first; bits < last; ++bits) {
    const uint64_t low = bits == 0 ? 0 : uint64_t{1} << (bits - 1);
    const uint64_t high = bits == 0 ? 0 : low + (low - 1);
    out.push_back(
        {low == high ? std::to_string(low) : fmt::format("{}-{}", low, high), bins.at(bits)});
  }
  return out;
}

void sort_by_severity(std::vector<Finding>& findings) {
  std::stable_sort(findings.begin(), findings.end(),
                   [](const Finding& a, const Finding& b) { return a.severity > b.severity; });
}

namespace {

/// The column of the target; -1: none was asked for.
int find_target(const Table& table, std::string_view target) {
  if (target.empty()) return -1;
  const int column = table.find(target);
  if (column >= 0) return column;
  const std::vector<std::string> names(table.columns().begin(), table.columns().end());
  const auto near = nearest(target, names);
  constexpr size_t kNamed = 20;
  throw UsageError(
      "no_target", fmt::format("there is no column '{}'", target),
      near ? fmt::format("did you mean '{}'?", *near)
           : fmt::format(
                 "columns: {}",
                 fmt::join(std::span(names).first(std::min<size_t>(names.size(), kNamed)), ", ")) +
                 (names.size() > kNamed ? ", …" : ""));
}

}  // namespace

DataCheck check_table(const Table& table, const CheckOptions& options, Reporter& reporter) {
  Checking checking{table, options, reporter, {}, find_target(table, options.target), {}, {}};
  DataCheck& check = checking.check;
  check.rows = table.rows();
  check.target = options.target;
  for (ColumnFacts& facts : infer_types(table, options.types)) {
    CheckedColumn column;
    column.facts = std::move(facts);
    check.columns.push_back(std::move(column));
  }
  check_columns(checking);
  check_pictures(checking);
  find_repeats(checking);
  find_near_repeats(checking);
  if (checking.target >= 0) check_target(checking);
  sort_by_severity(check.findings);
  return std::move(checking.check);
}

}  // namespace quern::data
