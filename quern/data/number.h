#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace quern::data {

/// A decimal number, all of the text: sign, digits with a point, exponent. Nothing for anything
/// else: infinities, NaN, hexadecimal, and what a double cannot hold (1e999).
std::optional<double> parse_number(std::string_view text);
/// The same, thousands separated by commas ("1,234.5", but no "0,301"), a leading currency sign and
/// a trailing percent sign allowed (the sign alone is dropped: "12 %" is 12).
std::optional<double> parse_written_number(std::string_view text);
/// A number written with a decimal comma, and points between thousands if at all ("1.234,5"), as
/// the same with a decimal point; every other text as it is.
std::string with_decimal_point(std::string_view text);

/// Whether the cell stands for "not known" whatever its column: "", ?, NA, N/A, #N/A, NaN, NaT,
/// null, \N, in any case.
bool is_missing(std::string_view text);
/// The same where a number or a date is expected: also none, nil, -, --, ., missing, unknown, 无,
/// 空, 缺失, 未知. In a column of words these may be an answer ("none" of three).
bool is_missing_number(std::string_view text);

/// A date, perhaps with a time, as seconds since 1970-01-01 00:00 (proleptic Gregorian, no zone; an
/// offset such as +08:00 is taken off, UTC and GMT are none). Year first (2024-03-01, 2024/3/1,
/// 20240301 with `compact`, 2024年3月1日), or day and month first, in the order that `day_first`
/// says. Times: 12:30, 12:30:59, 12:30:59.25, 1:30 PM, after a space or T. Nothing for a day that
/// no calendar has.
struct DateStyle {
  bool day_first = true;
  bool compact = false;
};
std::optional<int64_t> parse_date(std::string_view text, const DateStyle& style);

/// Calendar parts of such seconds.
struct DateParts {
  int64_t year = 0;
  int month = 0, day = 0, weekday = 0 /* Monday 0 */, hour = 0, minute = 0;
};
DateParts date_parts(int64_t seconds);

}  // namespace quern::data
