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
  kIdx,       // pictures of an IDX file, with the labels of the file of the same name
};
TableLayout table_layout(const fs::path& path);
/// The columns of the last two layouts.
inline constexpr std::string_view kImageColumn = "image";
inline constexpr std::string_view kLabelColumn = "label";
bool holds_pictures(const fs::path& path);

struct TableOptions {
  size_t memory_budget = size_t{256} << 20;  // bytes of cells held in memory; the rest on disk
};

/// Reads files of one layout as one table; all must have the same columns, in any order. Notes what
/// was inferred (separator, encoding, header) with its reason. Throws FormatError naming file and
/// line (a row with another number of fields, malformed JSON, an ARFF line that is none),
/// Error("no_rows"), Error("other_columns") naming them, and what open_bytes throws.
Table read_table(std::span<const fs::path> paths, const TableOptions& options, Reporter& reporter);

/// The same of text in memory, as CSV; `where` names it.
Table read_csv_text(std::string text, const std::string& where);

}  // namespace quern::data
