#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quern/data/number.h"
#include "quern/data/table.h"

namespace quern::data {

/// What a column holds.
enum class ColumnType : uint8_t {
  kNumber,
  kCategory,
  kText,
  kImage,  // paths of pictures
  kDate,
  kId,        // tells rows apart and nothing else: left out
  kConstant,  // one value: left out
  kIgnore,    // said by the user
};
std::string_view name(ColumnType type);
/// Whether rows that differ in columns of the type alone are the same: identifiers, and what was
/// said to be ignored.
bool is_beside_the_point(ColumnType type);
/// "number", "category", "text", "image", "date", "id" or "ignore"; throws UsageError.
ColumnType parse_column_type(std::string_view text);

struct ColumnFacts {
  std::string name;
  ColumnType type = ColumnType::kConstant;
  std::string reason;  // for people: "all 768 values are numbers"
  size_t missing = 0;
  size_t distinct = 0;         // of values that are there
  bool distinct_more = false;  // counting stopped at the cap
  bool integers = false;       // numbers without fractions
  double minimum = 0, maximum = 0;
  DateStyle date_style;
  size_t unreadable = 0;  // of a number or date column: values that are none
  std::string unreadable_example, unreadable_where;
  std::vector<std::string> examples;  // some different values
};

/// Classes are the most that a target may have.
inline constexpr size_t kMostClasses = 1000;
/// Whether a target's values are classes where no task was asked for: all but numbers of many
/// values. Whole numbers of ten values at most are classes: a regression would have little to rank.
bool is_class_target(const ColumnFacts& facts);
/// Whether the row has no answer: where a number is expected "none" and its like are missing, of
/// classes they may be one.
bool lacks_target(std::string_view cell, bool classes);

/// The columns of such types.
std::vector<size_t> beside_the_point(std::span<const ColumnFacts> facts);

/// Column types by name, as the key data.types says them: "age = number, city = category".
using TypeOverrides = std::map<std::string, ColumnType, std::less<>>;
/// Throws UsageError.
TypeOverrides parse_type_overrides(std::string_view text);

/// Looks at every row. Throws UsageError for an override of a column that is not there, naming the
/// nearest, and Error("unreadable_column") where an override does not fit (no value is a number).
std::vector<ColumnFacts> infer_types(const Table& table, const TypeOverrides& overrides);

}  // namespace quern::data
