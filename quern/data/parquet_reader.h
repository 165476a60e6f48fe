#pragma once

#include "quern/base/file.h"
#include "quern/data/table_sink.h"

namespace quern::data {

/// Whether this build was made with Apache Arrow, which reads Parquet.
bool reads_parquet();

/// A Parquet file, batch by batch. Times stand as dates (in UTC), NULL is empty, binary values are
/// left empty, and noted; lists and structs stand as Arrow prints them. Throws Error("no_parquet")
/// in a build without Arrow, FormatError (no Parquet, damaged, bytes that are no text), and what
/// open_bytes throws.
void read_parquet(const fs::path& path, TableSink& sink);

}  // namespace quern::data
