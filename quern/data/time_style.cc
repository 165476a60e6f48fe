#include "quern/data/time_style.h"

#include <algorithm>

namespace quern::data {

TimeStyle::TimeStyle(const Table& table, size_t column, size_t rows) {
  // By what most rows are, so that a slip is named, not those around it.
  size_t numbers = 0, day_first = 0, month_first = 0;
  for (size_t row = 0; row < rows; ++row) {
    const std::string_view cell = table.cell(row, column);
    numbers += parse_number(cell) ? 1 : 0;
    day_first += parse_date(cell, {.day_first = true}) ? 1 : 0;
    month_first += parse_date(cell, {.day_first = false}) ? 1 : 0;
  }
  number_ = numbers >= std::max(day_first, month_first);
  style_.day_first = day_first >= month_first;
}

std::optional<double> TimeStyle::read(std::string_view cell) const {
  if (number_) return parse_number(cell);
  const auto date = parse_date(cell, style_);
  return date ? std::optional(static_cast<double>(*date)) : std::nullopt;
}

}  // namespace quern::data
