#pragma once

#include <string>

#include "quern/base/file.h"
#include "quern/data/table_sink.h"

namespace quern::data {

/// By its extension: .db, .sqlite, .sqlite3.
bool is_sqlite_name(const fs::path& path);

/// A table (or view) of a SQLite database, row by row; `table` "": the only one. The database is
/// opened read-only. Numbers stand as SQLite keeps them, NULL is empty; binary values are left
/// empty, and noted. Throws UsageError("which_table") naming the tables, UsageError("no_table")
/// naming the nearest, FormatError (no database, damaged, bytes that are no text), and what
/// open_bytes throws.
void read_sqlite(const fs::path& path, const std::string& table, TableSink& sink);

}  // namespace quern::data
