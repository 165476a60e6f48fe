#pragma once

#include <span>

#include "quern/base/progress.h"
#include "quern/data/document_reader.h"
#include "quern/data/table.h"

namespace quern::data {

/// The column that document_table makes.
inline constexpr std::string_view kTextColumn = "text";

/// Plain texts as a table of one column, one row a document, so that what looks at tables looks at
/// texts. Files in a folder that are empty or binary are left out and counted in a note. Throws
/// IoError and FormatError as read_documents, and Error("no_text").
Table document_table(std::span<const fs::path> paths, const ReadOptions& options,
                     Reporter& reporter);

}  // namespace quern::data
