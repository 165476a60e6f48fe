#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "quern/base/text_encoding.h"
#include "quern/base/thread_pool.h"
#include "quern/data/document_rule.h"
#include "quern/data/text_stream.h"

namespace quern::data {

/// How a text file is laid out, by its name (compression suffixes left out).
enum class TextLayout : uint8_t { kPlain, kJsonLines, kTable };
TextLayout text_layout(const fs::path& path);

struct ReadOptions {
  std::string column;                ///< of tables and JSON lines; empty: "text"
  std::optional<DocumentRule> rule;  ///< of plain text; empty: inferred
};

/// What was found out about a file while it was read.
struct ReadFacts {
  TextLayout layout = TextLayout::kPlain;
  TextEncoding encoding = TextEncoding::kUtf8;
  DocumentRule rule = DocumentRule::kFile;  ///< kPlain
  std::string reason;                       ///< of the rule or of the column chosen
  uint64_t empty = 0;                       ///< rows without text, left out
  uint64_t colour_codes = 0;
};

/// Reads every document of a source into the sink, in order. `tick` is called from time to time
/// with the bytes consumed. Throws FormatError naming file and line: malformed JSON or CSV, a
/// column or field that is not there (with those that are), a field that is no string.
ReadFacts read_documents(std::unique_ptr<ByteSource> source, const fs::path& path,
                         const ReadOptions& options, DocumentSink& sink,
                         FunctionRef<void(uint64_t consumed)> tick);

}  // namespace quern::data
