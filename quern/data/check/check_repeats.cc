#include "quern/data/check/check_repeats.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "quern/base/hash.h"
#include "quern/data/text_overlap.h"

namespace quern::data {
namespace {

constexpr size_t kNearTexts = 100'000;

/// Columns that make two rows the same: all but the target and identifiers.
std::vector<size_t> compared_columns(const Checking& checking) {
  std::vector<size_t> out;
  for (size_t i = 0; i < checking.check.columns.size(); ++i) {
    if (!checking.is_target(i) && !is_beside_the_point(checking.facts(i).type)) out.push_back(i);
  }
  return out;
}

struct Repeats {
  size_t rows = 0, contradictions = 0;
  size_t example = 0, earlier = 0;
  size_t contradiction = 0, contradicted = 0;
};

Repeats count_repeats(const Checking& checking, std::span<const size_t> columns) {
  const Table& table = checking.table;
  const int image = image_column(checking.check);
  std::vector<std::pair<uint64_t, size_t>> rows(checking.check.rows);
  for (size_t row = 0; row < rows.size(); ++row)
    rows[row] = {row_hash(table, row, columns, image, checking.content), row};
  std::sort(rows.begin(), rows.end());
  const auto answer = [&](size_t row) {
    return table.cell(row, static_cast<size_t>(checking.target));
  };
  Repeats out;
  for (size_t i = 1, first = 0; i < rows.size(); ++i) {
    if (rows[i].first != rows[first].first) {
      first = i;
      continue;
    }
    const size_t row = rows[i].second, earlier = rows[first].second;
    if (out.rows++ == 0) {
      out.example = row;
      out.earlier = earlier;
    }
    if (checking.target < 0 || answer(row) == answer(earlier)) continue;
    if (out.contradictions++ == 0) {
      out.contradiction = row;
      out.contradicted = earlier;
    }
  }
  return out;
}

}  // namespace

void find_repeats(Checking& checking) {
  const std::vector<size_t> columns = compared_columns(checking);
  if (columns.empty()) return;
  const Repeats repeats = count_repeats(checking, columns);
  const size_t rows = checking.check.rows;
  const bool target = checking.target >= 0;
  // Copies of a picture under another name are not known before pictures are opened.
  const bool kept = target && image_column(checking.check) < 0;
  if (repeats.rows > 0) {
    checking.found(
        "duplicates", share(repeats.rows, rows) > 0.05 ? Severity::kWarning : Severity::kNote,
        checking.where(repeats.example),
        fmt::format("{} rows ({:.1f} %) repeat an earlier one{}, as {}{}", repeats.rows,
                    100 * share(repeats.rows, rows), target ? " in all but the target" : "",
                    checking.where(repeats.earlier),
                    kept ? "; training keeps them on one side of the split" : ""));
  }
  if (repeats.contradictions == 0) return;
  // Where a text or a picture alone is judged, one of the two answers must be wrong.
  const ColumnType only = checking.facts(columns.front()).type;
  const bool slip =
      columns.size() == 1 && (only == ColumnType::kText || only == ColumnType::kImage);
  checking.found(
      "contradictions", slip ? Severity::kWarning : Severity::kNote, checking.check.target,
      fmt::format("{} repeated rows have another {} than the first, as {} and {}: no model can "
                  "tell them apart",
                  repeats.contradictions, checking.check.target,
                  checking.where(repeats.contradiction), checking.where(repeats.contradicted)));
}

void find_near_repeats(Checking& checking) {
  for (size_t column = 0; column < checking.check.columns.size(); ++column) {
    if (checking.facts(column).type != ColumnType::kText || checking.is_target(column)) continue;
    std::unordered_set<uint64_t> seen;  // copies are said by find_repeats
    std::vector<size_t> rows;
    std::vector<std::vector<uint64_t>> texts;
    for (const size_t row : thinned(checking.check.rows, kNearTexts)) {
      const std::string_view text = checking.table.cell(row, column);
      if (!seen.insert(hash64(text)).second) continue;
      rows.push_back(row);
      texts.push_back(shingles(text));
    }
    const std::vector<NearRepeat> repeats = near_repeats(texts);
    if (repeats.empty()) continue;
    const NearRepeat& one = repeats.front();
    checking.found(
        "near_duplicates", Severity::kNote, checking.facts(column).name,
        fmt::format(
            "{} of {} different texts nearly repeat an earlier one (four fifths of their runs of "
            "five words), as {} and {}; training may see what validation asks",
            repeats.size(), rows.size(), checking.table.where(rows[one.text]),
            checking.table.where(rows[one.other])));
  }
}

}  // namespace quern::data
