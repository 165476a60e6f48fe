#pragma once

#include <span>
#include <string>
#include <vector>

#include "quern/data/check/data_check.h"

namespace quern::data {

/// What the parts of one check share.
struct Checking {
  const Table& table;
  const CheckOptions& options;
  Reporter& reporter;
  DataCheck check;
  int target = -1;                 // its column
  std::vector<uint64_t> content;   // (rows) of the picture column's pixels; empty: not opened
  std::vector<std::string> sizes;  // (rows) "240×160", of the same pictures

  bool is_target(size_t column) const { return static_cast<int>(column) == target; }
  const ColumnFacts& facts(size_t column) const { return check.columns[column].facts; }
  void found(std::string kind, Severity severity, std::string where, std::string detail);
  /// A picture's name, or the line of the file.
  std::string where(size_t row) const;
};

double share(size_t part, size_t whole);

/// Every n-th row, so that at most `most` remain.
std::vector<size_t> thinned(size_t rows, size_t most);

bool is_ordered(const ColumnFacts& facts);
/// A number, or a date in seconds since 1970; NaN where the cell holds none.
double value_of(const ColumnFacts& facts, std::string_view cell);

/// A hash of some columns of a row; cells keep their borders. A picture counts by its pixels where
/// `content` holds them. With `facts` (of each column) numbers and dates count by their value, and
/// what is missing by that.
uint64_t row_hash(const Table& table, size_t row, std::span<const size_t> columns, int image,
                  std::span<const uint64_t> content,
                  std::span<const ColumnFacts* const> facts = {});
/// The first column of pictures; -1: none.
int image_column(const DataCheck& check);

/// Counts by powers of two: "1", "2-3", "4-7", …, from the least to the greatest there is.
std::vector<Frequency> by_powers_of_two(std::span<const uint64_t> counts);

void sort_by_severity(std::vector<Finding>& findings);

}  // namespace quern::data
