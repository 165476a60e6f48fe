#include "quern/data/document_table.h"

#include <fmt/format.h>

#include <string>

#include "quern/base/error.h"
#include "quern/data/text_files.h"

namespace quern::data {
namespace {

/// Puts documents into rows.
class RowSink : public DocumentSink {
 public:
  explicit RowSink(TableBuilder& builder) : builder_(builder) {}
  void text(std::string_view piece) override { document_ += piece; }
  void end() override {
    builder_.add_row(std::span(&document_, 1), ++number_);
    document_.clear();
  }

 private:
  TableBuilder& builder_;
  std::string document_;
  uint64_t number_ = 0;
};

}  // namespace

Table document_table(std::span<const fs::path> paths, const ReadOptions& options,
                     Reporter& reporter) {
  TableBuilder builder;
  builder.add_column(kTextColumn);
  size_t skipped = 0;
  for (const DataFile& file : list_files(paths)) {
    const std::string name = file.path.string();
    builder.begin_file(name, "document");
    RowSink sink(builder);
    const auto tick = [&](uint64_t consumed) {
      reporter.progress(fmt::format("reading '{}': {} documents, {}", name, builder.rows(),
                                    format_bytes(static_cast<double>(consumed))));
    };
    try {
      const ReadFacts facts = read_documents(open_bytes(file.path), file.path, options, sink, tick);
      if (file.named) reporter.note(fmt::format("'{}': {}", name, facts.reason));
    } catch (const Error& error) {
      const bool skip = error.code() == "binary_file" || error.code() == "empty_file";
      if (file.named || !skip) throw;
      ++skipped;
    }
  }
  if (skipped > 0)
    reporter.note(fmt::format("{} files of the folder are empty or no text: left out", skipped));
  if (builder.rows() == 0) {
    throw Error("no_text", fmt::format("there is no text in '{}'", paths.front().string()),
                "name a file that holds text");
  }
  return builder.finish(paths.front().parent_path().string());
}

}  // namespace quern::data
