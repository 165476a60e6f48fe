#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "quern/base/progress.h"
#include "quern/data/column_types.h"
#include "quern/data/interactions.h"
#include "quern/data/picture.h"
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
  std::string summary;   // of texts, pictures, users and items: one line for people
  std::string measured;  // what the frequencies count, where it is not the values themselves
  std::vector<Frequency> frequencies;  // 20 ranges of a number or date; the commonest categories
                                       // and sizes of pictures; lengths by powers of two
  /// How well the column alone tells the target on rows not used to learn it: the area under the
  /// ROC curve (mean over classes), or R² for a value.
  std::optional<double> strength;
};

struct DataCheck {
  std::string kind = "table";  // or "pictures", "texts", "log"
  size_t rows = 0;
  std::string target;
  bool classes = false;  // the target is a class
  std::vector<CheckedColumn> columns;
  std::vector<Finding> findings;  // severe first

  bool severe() const;
};

struct CheckOptions {
  std::string target;
  std::string task = "auto";  // or "classify", "regress": what the target is taken for
  TypeOverrides types;
  /// Opens a picture by what stands in its cell, as training does. Empty: pictures stay closed.
  std::function<Picture(std::string_view)> load_picture;
};

/// What a table says of itself: types, missing and unreadable values, constants and identifiers,
/// repeats and near repeats, outliers, date order, lengths and damage of texts, broken pictures and
/// their sizes, and with a target its balance and columns that all but give it away. Costs one pass
/// a column; leakage looks at 200,000 rows, near repeats at 100,000 texts or pictures, evenly
/// taken. Throws what infer_types throws, and UsageError for a target that is no column.
DataCheck check_table(const Table& table, const CheckOptions& options, Reporter& reporter);

/// What a log of who took what says of itself: users, items and how they are spread, repeats,
/// order, what cannot be learnt. Throws what read_interactions throws.
DataCheck check_log(const Table& table, const LogColumns& said, Reporter& reporter);

/// The columns of user, item and time where the table has them by name; else nothing.
std::optional<LogColumns> log_columns_by_name(const Table& table);

/// A table that a check was made of, and another beside it.
struct Beside {
  const Table& table;
  const Table& other;
  std::string name, other_name;
  std::function<Picture(std::string_view)> load_other;  // opens the other's pictures
};

/// Adds what the table shares with another: rows that agree in all but the target (in the columns
/// that both have; pictures by their pixels), texts that nearly repeat one of the other, and
/// columns that one of them lacks. Severe from one row in a hundred of either.
void check_against(DataCheck& check, const CheckOptions& options, const Beside& beside);

/// One self-contained page: findings, columns, a small plot a column.
std::string check_html(const DataCheck& check, std::string_view title);

}  // namespace quern::data
