#pragma once

#include <optional>
#include <span>
#include <string>

#include "quern/base/file.h"
#include "quern/base/progress.h"
#include "quern/data/table.h"

namespace quern::data {

/// Formats of tables, by name (compression suffixes left out).
enum class TableLayout : uint8_t {
  kNone,
  kDelimited,
  kJsonLines,
  kArff,
  kPictures,  // a picture, a folder of pictures, or of folders named by class
  kSqlite,
  kParquet,
  kIdx,  // pictures of an IDX file, with the labels of the file of the same name
};
TableLayout table_layout(const fs::path& path);
/// The columns of pictures.
inline constexpr std::string_view kImageColumn = "image";
inline constexpr std::string_view kLabelColumn = "label";
bool holds_pictures(const fs::path& path);
/// A database, a Parquet or an ARFF file, which hold no text to continue.
bool holds_rows_alone(const fs::path& path);

struct TableOptions {
  std::string table = {};                    // of a SQLite file; "": its only one
  size_t memory_budget = size_t{256} << 20;  // bytes of cells held in memory; the rest on disk
};

/// Reads files of one layout as one table; all must have the same columns, in any order. Notes what
/// was inferred (separator, encoding, header) with its reason. Throws FormatError naming file and
/// line (a row with another number of fields, malformed JSON, an ARFF line that is none),
/// Error("no_rows"), Error("other_columns") naming them, UsageError (a table of what is no
/// database), and what open_bytes, read_sqlite and read_parquet throw.
Table read_table(std::span<const fs::path> paths, const TableOptions& options, Reporter& reporter);

/// The same of text in memory, as CSV; `where` names it.
Table read_csv_text(std::string text, const std::string& where);

}  // namespace quern::data
