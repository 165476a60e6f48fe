#include "quern/data/document_reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <simdjson.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "quern/base/error.h"
#include "quern/base/strings.h"
#include "quern/data/csv_parser.h"

namespace quern::data {
namespace {

constexpr uint64_t kTickDocuments = 256;

class Ticker {
 public:
  Ticker(const TextStream& stream, FunctionRef<void(uint64_t)> tick)
      : stream_(stream), tick_(tick) {}
  void operator()() {
    if (++count_ % kTickDocuments == 0) tick_(stream_.consumed());
  }

 private:
  const TextStream& stream_;
  FunctionRef<void(uint64_t)> tick_;
  uint64_t count_ = 0;
};

void emit(std::string_view text, DocumentSink& sink, ReadFacts& facts) {
  if (trim(text).empty()) {
    ++facts.empty;
    return;
  }
  sink.text(text);
  sink.end();
}

void read_plain(TextStream& stream, const ReadOptions& options, DocumentSink& sink,
                ReadFacts& facts, FunctionRef<void(uint64_t)> tick) {
  if (options.rule) {
    facts.rule = *options.rule;
    facts.reason = "set by data.documents";
  } else {
    RuleInference inference = infer_document_rule(stream.peek());
    facts.rule = inference.rule;
    facts.reason = std::move(inference.reason);
  }
  if (facts.rule == DocumentRule::kFile) {
    bool any = false;
    for (std::string_view block; !(block = stream.next()).empty(); tick(stream.consumed())) {
      // White space alone is no document; leading white space of one that follows is kept.
      if (!any && trim(block).empty()) continue;
      any = true;
      sink.text(block);
    }
    if (any) sink.end();
    return;
  }
  DocumentSplitter splitter(facts.rule, sink);
  LineReader lines(stream);
  Ticker ticker(stream, tick);
  for (std::string_view line; lines.next(line); ticker()) splitter.line(line);
  splitter.finish();
  facts.colour_codes = splitter.colour_codes();
}

void read_json_lines(TextStream& stream, const ReadOptions& options, DocumentSink& sink,
                     ReadFacts& facts, FunctionRef<void(uint64_t)> tick) {
  const std::string field = options.column.empty() ? "text" : options.column;
  facts.reason = fmt::format("its field '{}'", field);
  simdjson::dom::parser parser;
  LineReader lines(stream);
  Ticker ticker(stream, tick);
  const auto fail = [&](std::string_view what, std::string_view hint) {
    throw FormatError(fmt::format("'{}', line {}: {}", stream.where(), lines.line_number(), what),
                      std::string(hint));
  };
  for (std::string_view line; lines.next(line); ticker()) {
    if (trim(line).empty()) continue;
    simdjson::dom::element element;
    if (const auto error = parser.parse(line.data(), line.size()).get(element)) {
      fail(fmt::format("not a JSON value ({})", simdjson::error_message(error)),
           "each line holds one whole JSON object");
    }
    simdjson::dom::object object;
    if (element.get(object) != simdjson::SUCCESS) {
      fail("not a JSON object", "each line holds one JSON object, as {\"text\": \"…\"}");
    }
    simdjson::dom::element value;
    if (object.at_key(field).get(value) != simdjson::SUCCESS) {
      std::vector<std::string_view> keys;
      for (const auto& pair : object) {
        if (keys.size() < 12) keys.push_back(pair.key);
      }
      fail(fmt::format("no field '{}'; there is {}", field,
                       keys.empty() ? "none" : fmt::format("{}", fmt::join(keys, ", "))),
           "name the field that holds the text: --set data.column=NAME");
    }
    std::string_view text;
    if (value.is_null()) {
      ++facts.empty;
    } else if (value.get(text) != simdjson::SUCCESS) {
      fail(fmt::format("the field '{}' is no string", field),
           "name the field that holds the text: --set data.column=NAME");
    } else if (text.find('\0') != std::string_view::npos) {
      fail(fmt::format("the field '{}' holds a NUL character", field), "remove it");
    } else {
      emit(text, sink, facts);
    }
  }
}

size_t choose_column(const std::vector<std::string>& header, const ReadOptions& options,
                     const TextStream& stream, ReadFacts& facts) {
  const std::string wanted = options.column.empty() ? "text" : options.column;
  auto it = std::find(header.begin(), header.end(), wanted);
  if (it == header.end() && options.column.empty()) {
    it = std::find_if(header.begin(), header.end(),
                      [](const std::string& column) { return lower_ascii(column) == "text"; });
    if (it == header.end() && header.size() == 1) it = header.begin();
  }
  if (it == header.end()) {
    const size_t shown = std::min<size_t>(header.size(), 12);
    throw FormatError(
        fmt::format("'{}' has no column '{}'; its columns are {}{}", stream.where(), wanted,
                    fmt::join(header.begin(), header.begin() + static_cast<ptrdiff_t>(shown), ", "),
                    shown < header.size() ? ", …" : ""),
        "name the column that holds the text: --set data.column=NAME");
  }
  facts.reason = fmt::format("its column '{}'", *it);
  return static_cast<size_t>(it - header.begin());
}

void read_table(TextStream& stream, bool tsv, const ReadOptions& options, DocumentSink& sink,
                ReadFacts& facts, FunctionRef<void(uint64_t)> tick) {
  CsvParser parser(stream, detect_separator(stream.peek(), tsv));
  std::vector<std::string> fields;
  if (!parser.next(fields)) return;
  const size_t columns = fields.size();
  const size_t column = choose_column(fields, options, stream, facts);
  Ticker ticker(stream, tick);
  for (; parser.next(fields); ticker()) {
    if (fields.size() != columns) {
      throw FormatError(fmt::format("'{}', line {}: {} fields where the header has {}",
                                    stream.where(), parser.record_line(), fields.size(), columns),
                        "quote fields that hold the separator");
    }
    emit(fields[column], sink, facts);
  }
}

}  // namespace

TextLayout text_layout(const fs::path& path) {
  const std::string extension = content_extension(path);
  if (extension == ".jsonl" || extension == ".ndjson") return TextLayout::kJsonLines;
  if (extension == ".csv" || extension == ".tsv") return TextLayout::kTable;
  return TextLayout::kPlain;
}

ReadFacts read_documents(std::unique_ptr<ByteSource> source, const fs::path& path,
                         const ReadOptions& options, DocumentSink& sink,
                         FunctionRef<void(uint64_t consumed)> tick) {
  TextStream stream(std::move(source), path.string());
  ReadFacts facts;
  facts.layout = text_layout(path);
  facts.encoding = stream.encoding();
  switch (facts.layout) {
    case TextLayout::kPlain:
      read_plain(stream, options, sink, facts, tick);
      break;
    case TextLayout::kJsonLines:
      read_json_lines(stream, options, sink, facts, tick);
      break;
    case TextLayout::kTable:
      read_table(stream, content_extension(path) == ".tsv", options, sink, facts, tick);
      break;
  }
  tick(stream.consumed());
  return facts;
}

}  // namespace quern::data
