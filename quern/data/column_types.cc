#include "quern/data/column_types.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_set>

#include "quern/base/error.h"
#include "quern/base/strings.h"
#include "quern/data/picture.h"

namespace quern::data {
namespace {

constexpr std::array<std::string_view, 8> kNames = {"number", "category", "text",     "image",
                                                    "date",   "id",       "constant", "ignore"};
constexpr size_t kDistinctCap = 100'000;
constexpr size_t kExamples = 5;
constexpr double kMostlyReadable = 0.9;

/// Words: runs of bytes between blanks. Scripts without blanks: a character of three bytes
/// (Chinese) counts as half a word, one of Thai or Lao as a quarter.
double words_of(std::string_view text) {
  double words = 0;
  bool inside = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    const auto next = static_cast<uint8_t>(i + 1 < text.size() ? text[i + 1] : 0);
    if (text[i] == ' ' || text[i] == '\t' || text[i] == '\n') {
      inside = false;
    } else if (byte >= 0xE3 && byte < 0xF0) {
      words += 0.5;
    } else if (byte == 0xE0 && next >= 0xB8 && next <= 0xBB) {
      words += 0.25;
    } else if (!inside && (byte < 0x80 || byte >= 0xC0)) {  // no byte within a character
      inside = true;
      words += 1;
    }
  }
  return words;
}

/// "customerID", "user_id", "uuid", "编号", but no "AMOUNT_PAID".
bool is_id_name(std::string_view name) {
  const std::string small = lower_ascii(name);
  for (const std::string_view whole : {"id", "uuid", "guid", "index", "rowid"})
    if (small == whole) return true;
  for (const std::string_view end :
       {"_id", " id", "-id", ".id", "uuid", "编号", "customerid", "userid", "clientid", "orderid",
        "patientid", "accountid", "itemid", "productid", "sessionid", "recordid"})
    if (small.ends_with(end)) return true;
  const bool capitals = name.ends_with("ID") || name.ends_with("Id");
  return capitals && name.size() > 2 && name[name.size() - 3] >= 'a' &&
         name[name.size() - 3] <= 'z';
}

/// "YEAR", "birth_year", "Jahr", "年份".
bool is_year_name(std::string_view name) {
  const std::string small = lower_ascii(name);
  for (const std::string_view word : {"year", "yr", "jahr", "année", "年份", "年度"})
    if (small.ends_with(word)) return true;
  return small == "年";
}

bool is_code_name(std::string_view name) {
  const std::string small = lower_ascii(name);
  for (const std::string_view end :
       {"code", "type", "class", "category", "kind", "zip", "代码", "类型", "类别"}) {
    if (small.ends_with(end)) return true;
  }
  return false;
}

bool is_time_name(std::string_view name) {
  const std::string small = lower_ascii(name);
  return small.find("time") != std::string::npos || small.find("date") != std::string::npos ||
         small.ends_with("_at") || small.ends_with("day") || small == "dob" ||
         small.find("时间") != std::string::npos || small.find("日期") != std::string::npos ||
         small.ends_with("日");
}

/// What one pass over a column counts.
struct Counts {
  size_t present = 0, absent = 0 /* of a number: "none", "-" */, numbers = 0, integers = 0,
         leading_zeros = 0, images = 0, blanks = 0;
  size_t day_first = 0, month_first = 0, compact = 0,
         either = 0 /* read in another order, another */;
  size_t shortest = SIZE_MAX, longest = 0;  // numbers, in bytes
  size_t at_cap = 0;                        // values present when counting different ones stopped
  double words = 0;
  bool rising = true;  // integers, each one more than the last
  double last = 0;
  std::unordered_set<uint64_t> distinct;
};

class ColumnInspector {
 public:
  ColumnInspector(const Table& table, size_t column) : table_(table), column_(column) {
    facts_.name = table.columns()[column];
  }

  ColumnFacts infer() {
    count();
    decide();
    find_unreadable();
    return std::move(facts_);
  }

  ColumnFacts force(ColumnType type) {
    count();
    facts_.type = type;
    facts_.reason = "set by data.types";
    if (type == ColumnType::kDate) choose_style();
    if (type == ColumnType::kNumber && c_.numbers == 0) unreadable_column("number");
    if (type == ColumnType::kDate && date_count() == 0) unreadable_column("date");
    find_unreadable();
    return std::move(facts_);
  }

 private:
  [[noreturn]] void unreadable_column(const char* what) const {
    throw Error(
        "unreadable_column",
        fmt::format("column '{}' cannot be a {}: no value of it is one (such as '{}')", facts_.name,
                    what, facts_.examples.empty() ? "" : facts_.examples.front()),
        "set another type in data.types");
  }

  void count() {
    for (size_t row = 0; row < table_.rows(); ++row) {
      const std::string_view cell = table_.cell(row, column_);
      if (is_missing(cell)) {
        ++facts_.missing;
        continue;
      }
      ++c_.present;
      count_distinct(cell);
      count_value(cell);
    }
    facts_.distinct = c_.distinct.size();
    facts_.integers = c_.numbers > 0 && c_.integers == c_.numbers;
  }

  void count_distinct(std::string_view cell) {
    if (c_.distinct.size() >= kDistinctCap) {
      if (!facts_.distinct_more) c_.at_cap = c_.present;
      facts_.distinct_more = true;
      return;
    }
    if (c_.distinct.insert(hash64(cell)).second && facts_.examples.size() < kExamples) {
      facts_.examples.emplace_back(cell.substr(0, 60));
    }
  }

  void count_value(std::string_view cell) {
    if (const auto number = parse_written_number(cell)) {
      facts_.minimum = c_.numbers == 0 ? *number : std::min(facts_.minimum, *number);
      facts_.maximum = c_.numbers == 0 ? *number : std::max(facts_.maximum, *number);
      const bool whole = *number == std::floor(*number);
      if (c_.numbers > 0 && *number != c_.last + 1) c_.rising = false;
      c_.last = *number;
      ++c_.numbers;
      c_.integers += whole ? 1 : 0;
      const bool zero = cell.size() > 1 && cell.front() == '0' && cell[1] >= '0' && cell[1] <= '9';
      c_.leading_zeros += zero ? 1 : 0;
      c_.shortest = std::min(c_.shortest, cell.size());
      c_.longest = std::max(c_.longest, cell.size());
      c_.compact += parse_date(cell, {.compact = true}).has_value() ? 1 : 0;
      return;
    }
    c_.absent += is_missing_number(cell) ? 1 : 0;
    c_.words += words_of(cell);
    c_.images += is_picture_name(cell) ? 1 : 0;
    c_.blanks += cell.find(' ') != std::string_view::npos ? 1 : 0;
    const auto day_first = parse_date(cell, {.day_first = true});
    const auto month_first = parse_date(cell, {.day_first = false});
    c_.day_first += day_first.has_value() ? 1 : 0;
    c_.month_first += month_first.has_value() ? 1 : 0;
    c_.either += day_first && month_first && *day_first != *month_first ? 1 : 0;
  }

  size_t date_count() const { return std::max({c_.day_first, c_.month_first, c_.compact}); }

  void choose_style() {
    facts_.date_style.compact = c_.compact > std::max(c_.day_first, c_.month_first);
    facts_.date_style.day_first = c_.day_first >= c_.month_first;
  }

  void set(ColumnType type, std::string reason) {
    facts_.type = type;
    facts_.reason = std::move(reason);
  }

  void decide() {
    const double present = static_cast<double>(std::max<size_t>(1, c_.present - c_.absent));
    if (facts_.distinct <= 1) {
      set(ColumnType::kConstant,
          c_.present == 0 ? "no value at all"
                          : fmt::format("one value only, '{}'", facts_.examples.front()));
    } else if (date_count() > 0 && static_cast<double>(date_count()) >= kMostlyReadable * present &&
               (c_.compact <= std::max(c_.day_first, c_.month_first) ||
                is_time_name(facts_.name))) {
      choose_style();
      const bool both = c_.day_first == c_.month_first || facts_.date_style.compact;
      set(ColumnType::kDate,
          both && c_.either == 0
              ? "its values are dates"
              : fmt::format(
                    "its values are dates, {} first{}",
                    facts_.date_style.day_first ? "day" : "month",
                    both ? ": none tells, so that is a guess; years first leave none" : ""));
    } else if (c_.numbers > 0 && static_cast<double>(c_.numbers) >= kMostlyReadable * present) {
      decide_number();
    } else if (c_.images > 0 && static_cast<double>(c_.images) >=
                                    kMostlyReadable * static_cast<double>(c_.present)) {
      // All but a few, which opening names; left out as words they would take the pictures along.
      set(ColumnType::kImage, "its values are names of pictures");
    } else {
      decide_words();
    }
  }

  /// Of the values that are there, as far as different ones were counted.
  double share_different() const {
    return static_cast<double>(facts_.distinct) /
           static_cast<double>(facts_.distinct_more ? c_.at_cap : c_.present);
  }

  void decide_number() {
    const bool unique =
        facts_.distinct_more ? share_different() > 0.99 : facts_.distinct == c_.present;
    constexpr double kFirstYear = 1000, kLastYear = 2999;
    const bool years =
        is_year_name(facts_.name) && facts_.minimum >= kFirstYear && facts_.maximum <= kLastYear;
    // A slip is no code: zip codes have one length, or many zeros in front.
    const bool codes =
        c_.leading_zeros > 0 && (c_.shortest == c_.longest || 20 * c_.leading_zeros >= c_.numbers);
    if (facts_.integers && c_.rising && c_.present == table_.rows() && c_.present >= 20 && !years) {
      set(ColumnType::kId, "it counts the rows");
    } else if (facts_.integers && unique && c_.present >= 20 && is_id_name(facts_.name)) {
      set(ColumnType::kId, "its name says so and every value is another");
    } else if (codes) {
      set(ColumnType::kCategory, "codes with leading zeros");
    } else if (facts_.distinct == 2) {
      set(ColumnType::kCategory, "two values");
    } else if (facts_.integers && facts_.distinct <= 100 && is_code_name(facts_.name)) {
      set(ColumnType::kCategory, "whole numbers that its name calls a code or type");
    } else {
      set(ColumnType::kNumber,
          fmt::format("{} are numbers",
                      c_.numbers == c_.present ? "its values" : "nearly all of its values"));
    }
  }

  void decide_words() {
    const double present = static_cast<double>(c_.present);
    const double mean_words = c_.words / present;
    const double share = share_different();
    // NOLINTNEXTLINE(bugprone-branch-clone): the reasons differ in what they are tried for.
    if (mean_words >= 3 && share > 0.2) {
      set(ColumnType::kText,
          fmt::format("{:.0f} words a value, {:.0f} % of them different", mean_words, 100 * share));
    } else if (share >= 0.95 && c_.present >= 20 && c_.blanks == 0) {
      set(ColumnType::kId, "nearly every value is another, of one word");
    } else if (share > 0.5 && mean_words >= 2) {
      set(ColumnType::kText,
          fmt::format("{:.0f} words a value, {:.0f} % of them different", mean_words, 100 * share));
    } else {
      set(ColumnType::kCategory,
          fmt::format("{}{} different values", facts_.distinct, facts_.distinct_more ? "+" : ""));
    }
  }

  void find_unreadable() {
    const bool number = facts_.type == ColumnType::kNumber;
    if (!number && facts_.type != ColumnType::kDate) return;
    const size_t readable = number ? c_.numbers : date_count();
    c_.present -= c_.absent;
    facts_.missing += c_.absent;
    if (readable == c_.present) return;
    for (size_t row = 0; row < table_.rows(); ++row) {
      const std::string_view cell = table_.cell(row, column_);
      if (is_missing_number(cell)) continue;
      if (number ? parse_written_number(cell).has_value()
                 : parse_date(cell, facts_.date_style).has_value())
        continue;
      if (facts_.unreadable++ > 0) continue;
      facts_.unreadable_example = cell.substr(0, 60);
      facts_.unreadable_where = table_.where(row);
    }
  }

  const Table& table_;
  size_t column_;
  ColumnFacts facts_;
  Counts c_;
};

}  // namespace

bool is_class_target(const ColumnFacts& facts) {
  constexpr size_t kFewValues = 10;
  return facts.type != ColumnType::kNumber || (facts.integers && facts.distinct <= kFewValues);
}

bool lacks_target(std::string_view cell, bool classes) {
  return classes ? is_missing(cell) : is_missing_number(cell);
}

std::string_view name(ColumnType type) { return kNames[static_cast<size_t>(type)]; }

bool is_beside_the_point(ColumnType type) {
  return type == ColumnType::kId || type == ColumnType::kIgnore;
}

std::vector<size_t> beside_the_point(std::span<const ColumnFacts> facts) {
  std::vector<size_t> columns;
  for (size_t i = 0; i < facts.size(); ++i)
    if (is_beside_the_point(facts[i].type)) columns.push_back(i);
  return columns;
}

ColumnType parse_column_type(std::string_view text) {
  const auto* it = std::find(kNames.begin(), kNames.end(), text);
  if (it == kNames.end() || *it == "constant") {
    throw UsageError("bad_value", fmt::format("'{}' is no column type", text),
                     "number, category, text, image, date, id or ignore");
  }
  return static_cast<ColumnType>(it - kNames.begin());
}

TypeOverrides parse_type_overrides(std::string_view text) {
  TypeOverrides overrides;
  text = trim(text);
  if (text.starts_with('{') && text.ends_with('}')) text = text.substr(1, text.size() - 2);
  if (trim(text).empty()) return overrides;
  for (const std::string& part : split_outside_quotes(text, ',')) {
    const std::vector<std::string> sides = split_outside_quotes(part, '=');
    if (sides.size() != 2) {
      throw UsageError(
          "bad_value", fmt::format("data.types: '{}' names no type", trim(part)),
          "write data.types.NAME=TYPE, or data.types=\"age = number, city = category\"");
    }
    overrides.emplace(unquote(sides[0]), parse_column_type(unquote(sides[1])));
  }
  return overrides;
}

std::vector<ColumnFacts> infer_types(const Table& table, const TypeOverrides& overrides) {
  const std::vector<std::string> names(table.columns().begin(), table.columns().end());
  for (const auto& [column, type] : overrides) {
    if (table.find(column) >= 0) continue;
    const auto near = nearest(column, names);
    throw UsageError("unknown_column", fmt::format("data.types: no column '{}'", column),
                     near ? fmt::format("did you mean '{}'?", *near) : "see quern check");
  }
  std::vector<ColumnFacts> facts;
  for (size_t i = 0; i < names.size(); ++i) {
    ColumnInspector inspector(table, i);
    const auto forced = overrides.find(names[i]);
    facts.push_back(forced == overrides.end() ? inspector.infer()
                                              : inspector.force(forced->second));
  }
  return facts;
}

}  // namespace quern::data
