#include "quern/data/number.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "quern/base/strings.h"

namespace quern::data {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Days since 1970-01-01 of a proleptic Gregorian date (Howard Hinnant, "chrono-compatible
/// low-level date algorithms", days_from_civil).
int64_t days_from_civil(int64_t year, int64_t month, int64_t day) {
  year -= month <= 2 ? 1 : 0;
  const int64_t era = (year >= 0 ? year : year - 399) / 400;
  const int64_t year_of_era = year - era * 400;
  const int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  const int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146097 + day_of_era - 719468;
}

int days_in_month(int64_t year, int64_t month) {
  constexpr std::array<int, 12> kDays = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return month == 2 && leap ? 29 : kDays[static_cast<size_t>(month - 1)];
}

/// Digits at the front of `text`, at most `most`; -1 where there are none.
int64_t take_number(std::string_view& text, size_t most) {
  size_t count = 0;
  int64_t value = 0;
  while (count < most && count < text.size() && is_digit(text[count])) {
    value = value * 10 + (text[count] - '0');
    ++count;
  }
  if (count == 0) return -1;
  text.remove_prefix(count);
  return value;
}

bool take(std::string_view& text, std::string_view what) {
  if (!text.starts_with(what)) return false;
  text.remove_prefix(what.size());
  return true;
}

/// In any case of ASCII; the spellings are in small letters. Asked of every cell: allocates
/// nothing.
bool is_one_of(std::string_view text, std::span<const std::string_view> spellings) {
  const auto same = [](char c, char small) {
    return c == small || (c >= 'A' && c <= 'Z' && (c | 0x20) == small);
  };
  return std::any_of(spellings.begin(), spellings.end(), [&](std::string_view spelling) {
    return text.size() == spelling.size() &&
           std::equal(text.begin(), text.end(), spelling.begin(), same);
  });
}

/// Takes "am" or "pm" off the front: hours to add; nothing where neither stands.
std::optional<int64_t> take_half(std::string_view& text) {
  constexpr std::array<std::string_view, 1> kMorning = {"am"}, kEvening = {"pm"};
  const std::string_view front = text.substr(0, 2);
  const bool evening = is_one_of(front, kEvening);
  if (!evening && !is_one_of(front, kMorning)) return std::nullopt;
  text = trim(text.substr(2));
  return evening ? 12 : 0;
}

/// "T12:30:59.25+08:00" in seconds of the day; nothing where it is no time.
std::optional<int64_t> take_time(std::string_view text) {
  if (text.empty()) return 0;
  if (!take(text, "T") && !take(text, " ") && !take(text, "t")) return std::nullopt;
  text = trim(text);
  int64_t hour = take_number(text, 2);
  if (hour < 0 || hour > 24 || !take(text, ":")) return std::nullopt;
  const int64_t minute = take_number(text, 2);
  if (minute < 0 || minute > 59) return std::nullopt;
  int64_t second = 0;
  if (take(text, ":")) {
    second = take_number(text, 2);
    if (second < 0 || second > 60) return std::nullopt;
    if (take(text, ".") || take(text, ",")) {
      if (take_number(text, 18) < 0) return std::nullopt;
    }
  }
  text = trim(text);
  if (const auto half = take_half(text)) {
    if (hour < 1 || hour > 12) return std::nullopt;
    hour = hour % 12 + *half;
  }
  const int64_t total = hour * 3600 + minute * 60 + second;
  constexpr std::array<std::string_view, 4> kNoOffset = {"", "z", "utc", "gmt"};
  if (is_one_of(text, kNoOffset)) return total;
  if (text.front() != '+' && text.front() != '-') return std::nullopt;
  const int64_t sign = text.front() == '+' ? 1 : -1;
  text.remove_prefix(1);
  const int64_t zone_hour = take_number(text, 2);
  take(text, ":");
  const int64_t zone_minute = text.empty() ? 0 : take_number(text, 2);
  if (zone_hour < 0 || zone_hour > 14 || zone_minute < 0 || zone_minute > 59 || !text.empty())
    return std::nullopt;
  return total - sign * (zone_hour * 3600 + zone_minute * 60);
}

std::optional<int64_t> civil(int64_t year, int64_t month, int64_t day, std::string_view time) {
  if (year < 1000 || year > 9999 || month < 1 || month > 12 || day < 1 ||
      day > days_in_month(year, month))
    return std::nullopt;
  const auto seconds = take_time(time);
  if (!seconds) return std::nullopt;
  return days_from_civil(year, month, day) * 86400 + *seconds;
}

}  // namespace

std::optional<double> parse_number(std::string_view text) {
  if (text.size() > 1 && text.front() == '+' && (is_digit(text[1]) || text[1] == '.'))
    text.remove_prefix(1);
  if (text.empty()) return std::nullopt;
  const char first = text.front() == '-' && text.size() > 1 ? text[1] : text.front();
  if (!is_digit(first) && first != '.') return std::nullopt;  // inf, nan
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value))
    return std::nullopt;
  return value;
}

std::optional<double> parse_written_number(std::string_view text) {
  if (const auto plain = parse_number(text)) return plain;
  bool negative = false;
  if (text.starts_with('-') || text.starts_with('+')) {
    negative = text.front() == '-';
    text.remove_prefix(1);
  }
  for (const std::string_view sign : {"$", "€", "£", "¥", "￥"}) {
    if (take(text, sign)) break;
  }
  if (text.ends_with('%')) text.remove_suffix(1);
  text = trim(text);
  std::string digits;
  size_t group = 0;
  bool separated = false;
  bool whole = true;  // before the point
  for (const char c : text) {
    if (c == ',' && whole) {
      if ((separated && group != 3) || (!separated && (group == 0 || group > 3)))
        return std::nullopt;
      separated = true;
      group = 0;
      continue;
    }
    if (!is_digit(c) && c != '.') return std::nullopt;
    if (c == '.') {
      if (separated && group != 3) return std::nullopt;
      whole = false;
    }
    digits += c;
    ++group;
  }
  if (whole && separated && group != 3) return std::nullopt;
  if (separated && digits.front() == '0') return std::nullopt;  // "0,301" has a decimal comma
  const auto value = parse_number(digits);
  if (!value) return std::nullopt;
  return negative ? -*value : *value;
}

std::string with_decimal_point(std::string_view text) {
  std::string out(text);
  const auto digit_at = [&](size_t i) { return i < text.size() && is_digit(text[i]); };
  const size_t comma = text.find(',');
  const std::string_view whole = text.substr(0, comma);
  size_t begin = 0;
  if (whole.starts_with('-') || whole.starts_with('+')) begin = 1;
  size_t group = 0, groups = 0;
  for (size_t i = begin; i < whole.size(); ++i) {
    if (is_digit(whole[i])) {
      ++group;
    } else if (whole[i] == '.' && (groups == 0 ? group >= 1 && group <= 3 : group == 3)) {
      ++groups;
      group = 0;
    } else {
      return out;
    }
  }
  if (group == 0 || (groups > 0 && group != 3)) return out;
  if (comma != std::string_view::npos) {
    size_t end = comma + 1;
    while (digit_at(end)) ++end;
    const std::string_view rest = trim(text.substr(end));
    if (end == comma + 1 || (!rest.empty() && rest != "%")) return out;
    out[comma] = '.';
  }
  out.erase(std::remove(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(whole.size()), '.'),
            out.begin() + static_cast<std::ptrdiff_t>(whole.size()));
  return out;
}

bool is_missing(std::string_view text) {
  constexpr std::array<std::string_view, 10> kSpellings = {"",     "?",   "na",   "n/a", "#n/a",
                                                           "<na>", "nan", "null", "nat", "\\n"};
  return is_one_of(text, kSpellings);
}

bool is_missing_number(std::string_view text) {
  constexpr std::array<std::string_view, 11> kSpellings = {
      "nil", "none", "-", "--", ".", "missing", "unknown", "无", "空", "缺失", "未知"};
  return is_missing(text) || is_one_of(text, kSpellings);
}

std::optional<int64_t> parse_date(std::string_view text, const DateStyle& style) {
  if (text.size() < 6 || !is_digit(text.front())) return std::nullopt;
  if (style.compact && text.size() == 8 && std::all_of(text.begin(), text.end(), is_digit)) {
    const int64_t value = take_number(text, 8);
    return civil(value / 10000, value / 100 % 100, value % 100, {});
  }
  const size_t digits =
      static_cast<size_t>(std::find_if_not(text.begin(), text.end(), is_digit) - text.begin());
  if (digits > 4) return std::nullopt;
  const int64_t first = take_number(text, digits);
  if (text.empty()) return std::nullopt;
  if (take(text, "年")) {
    const int64_t month = take_number(text, 2);
    if (!take(text, "月")) return std::nullopt;
    const int64_t day = take_number(text, 2);
    if (!take(text, "日")) return std::nullopt;
    return civil(first, month, day, text);
  }
  const char mark = text.front();
  if (mark != '-' && mark != '/' && mark != '.') return std::nullopt;
  text.remove_prefix(1);
  const int64_t second = take_number(text, 2);
  if (second < 0 || text.empty() || text.front() != mark) return std::nullopt;
  text.remove_prefix(1);
  if (digits == 4) {
    const int64_t day = take_number(text, 2);
    return civil(first, second, day, text);
  }
  if (digits > 2) return std::nullopt;
  const int64_t year = take_number(text, 4);
  return style.day_first ? civil(year, second, first, text) : civil(year, first, second, text);
}

DateParts date_parts(int64_t seconds) {
  int64_t days = seconds / 86400;
  int64_t rest = seconds % 86400;
  if (rest < 0) {
    rest += 86400;
    --days;
  }
  DateParts parts;
  parts.weekday = static_cast<int>(((days + 3) % 7 + 7) % 7);  // 1970-01-01 was a Thursday
  parts.hour = static_cast<int>(rest / 3600);
  parts.minute = static_cast<int>(rest / 60 % 60);
  const int64_t shifted = days + 719468;  // civil_from_days
  const int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
  const int64_t of_era = shifted - era * 146097;
  const int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
  const int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
  const int64_t month = (5 * of_year + 2) / 153;
  parts.day = static_cast<int>(of_year - (153 * month + 2) / 5 + 1);
  parts.month = static_cast<int>(month < 10 ? month + 3 : month - 9);
  parts.year = year + era * 400 + (parts.month <= 2 ? 1 : 0);
  return parts;
}

}  // namespace quern::data
