#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "quern/data/check/checking.h"

namespace quern::data {

/// What the target says of the rows looked at: a class, or a value.
struct TargetView {
  bool classes = false;
  size_t count = 0;  // of classes
  std::vector<size_t> rows;
  std::vector<int32_t> labels;  // (rows)
  std::vector<double> values;   // (rows)
};

/// How well a number, date or category column alone tells the target: 32 ranges of equal share, or
/// the commonest categories, each answering with what the other four fifths of the rows hold in it.
/// The area under the ROC curve (mean over classes), or R² (of a number also the squared rank
/// correlation, Spearman 1904: sees a copy in other units, which few ranges do not).
double column_strength(const Table& table, size_t column, const ColumnFacts& facts,
                       const TargetView& target);

/// The same of one name a row.
double name_strength(const std::vector<std::string>& names, const TargetView& target);

}  // namespace quern::data
