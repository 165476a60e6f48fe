#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "quern/data/number.h"
#include "quern/data/table.h"

namespace quern::data {

/// How a column tells when: by numbers (seconds, a year, anything that orders), or by dates of one
/// style. Learnt from the first rows, for a date alone does not say whether its day or its month
/// comes first.
class TimeStyle {
 public:
  /// Looks at the first `rows` rows.
  TimeStyle(const Table& table, size_t column, size_t rows);
  bool number() const { return number_; }
  /// The number, or seconds since 1970; nothing where the cell holds neither.
  std::optional<double> read(std::string_view cell) const;

 private:
  bool number_ = false;
  DateStyle style_;
};

}  // namespace quern::data
