#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "quern/data/column_types.h"
#include "quern/data/table.h"

namespace quern::data {

enum class Severity : uint8_t { kNote, kWarning, kSevere };
std::string_view name(Severity severity);

/// One thing that a person should know before training.
struct Finding {
  std::string kind;  // "leakage", "duplicates", "outliers", …
  Severity severity = Severity::kNote;
  std::string where;   // a column, or a place in the file
  std::string detail;  // for people: what, and what to do
};

/// How often values of one range or name occur.
struct Frequency {
  std::string label;
  size_t rows = 0;
};

struct CheckedColumn {
  ColumnFacts facts;
  std::vector<Frequency> frequencies;  // 20 ranges of a number or date; the commonest categories
  /// How well the column alone tells the target on rows not used to learn it: the area under the
  /// ROC curve (mean over classes), or R² for a value.
  std::optional<double> strength;
};

struct DataCheck {
  size_t rows = 0;
  std::string target;
  bool classes = false;  // the target is a class
  std::vector<CheckedColumn> columns;
  std::vector<Finding> findings;  // severe first

  bool severe() const;
};

/// What a table says of itself: types, missing and unreadable values, constants and identifiers,
/// repeats and near repeats, outliers, date order, and with a target its balance and columns that
/// all but give it away. Costs one pass a column; leakage looks at 200,000 rows, near repeats at
/// 100,000 texts, evenly taken. Throws what infer_types throws, and UsageError for a target that is
/// no column.
DataCheck check_table(const Table& table, std::string_view target, const TypeOverrides& overrides);

/// Adds what the table shares with another: rows that agree in all but the target (in the columns
/// that both have), and columns that one of them lacks. Severe from one row in a hundred.
void check_against(DataCheck& check, const Table& table, const Table& other,
                   std::string_view other_name);

/// One self-contained page: findings, columns, a small plot a column.
std::string check_html(const DataCheck& check, std::string_view title);

}  // namespace quern::data
