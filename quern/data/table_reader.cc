#include "quern/data/table_reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <simdjson.h>

#include <algorithm>

#include "quern/base/error.h"
#include "quern/base/strings.h"
#include "quern/data/byte_source.h"
#include "quern/data/csv_parser.h"
#include "quern/data/number.h"
#include "quern/data/parquet_reader.h"
#include "quern/data/picture.h"
#include "quern/data/picture_tables.h"
#include "quern/data/sqlite_reader.h"
#include "quern/data/table_sink.h"
#include "quern/data/text_stream.h"

namespace quern::data {
namespace {

/// CSV, TSV, JSON lines and ARFF.
class TextTableReader {
 public:
  explicit TextTableReader(TableSink& sink) : sink_(sink) {}

  void read(std::unique_ptr<ByteSource> source, const std::string& name, TableLayout layout,
            bool tsv) {
    TextStream stream(std::move(source), name);
    sink_.begin_file(name);
    switch (layout) {
      case TableLayout::kJsonLines:
        json_lines(stream);
        break;
      case TableLayout::kArff:
        arff(stream);
        break;
      default:
        delimited(stream, tsv);
    }
    if (stream.encoding() != TextEncoding::kUtf8) {
      sink_.note(fmt::format("'{}': converted from {}", name, quern::name(stream.encoding())));
    }
  }

 private:
  /// Whether the first line names the columns. Names are words, but a column of row numbers may
  /// lack one, and years may be names; then the second line (empty: none) must look otherwise.
  static bool is_header(const std::vector<std::string>& first,
                        const std::vector<std::string>& second) {
    const auto is_year = [](std::string_view text) {
      constexpr double kFirst = 1900, kLast = 2100;
      const auto value = parse_number(text);
      return value && text.size() == 4 && *value >= kFirst && *value <= kLast;
    };
    bool words = false, blanks = false, years = false, other_than_years = false;
    bool above_number = false;
    for (size_t i = 0; i < first.size(); ++i) {
      const std::string_view name = trim(first[i]);
      const std::string_view below = i < second.size() ? trim(second[i]) : std::string_view();
      if (name.empty()) {
        blanks = blanks || i > 0;
      } else if (is_year(name)) {
        years = true;
        other_than_years = other_than_years || !is_year(below);
      } else if (parse_number(name)) {
        return false;
      } else {
        words = true;
        above_number = above_number || parse_number(below);
      }
    }
    return words && (!blanks || above_number) && (!years || other_than_years);
  }

  /// Whether the fields between semicolons are numbers with decimal commas: some is, and none has a
  /// decimal point.
  static bool has_decimal_commas(std::string_view block) {
    bool commas = false;
    for (const std::string& line : split(block, '\n')) {
      for (const std::string& written : split(line, ';')) {
        const std::string bare = unquote(written);
        const std::string_view field = trim(bare);
        const size_t point = field.find('.');
        const bool number = parse_number(field).has_value();
        if (number && point != std::string_view::npos && field.size() - point != 4) return false;
        commas = commas || (!number && field.find(',') != std::string_view::npos &&
                            with_decimal_point(field) != field);
      }
    }
    return commas;
  }

  void delimited(TextStream& stream, bool tsv) {
    // Excel's first line, which names the separator.
    const std::string_view block = stream.peek();
    const bool named =
        block.size() > 5 && block.starts_with("sep=") && (block[5] == '\n' || block[5] == '\r');
    const char separator = named ? block[4] : detect_separator(block, tsv);
    const bool commas = separator == ';' && has_decimal_commas(block);
    CsvParser parser(stream, separator);
    std::vector<std::string> fields, second;
    if (!parser.next(fields) || (named && !parser.next(fields))) return;
    const uint64_t first_line = parser.record_line();
    const size_t width = fields.size();
    const bool more = parser.next(second);
    std::vector<std::string> names = fields;
    const bool header = is_header(fields, second);
    for (size_t i = 0; i < width; ++i) {
      names[i] = trim(names[i]);
      if (!header || names[i].empty()) names[i] = fmt::format("column{}", i + 1);
    }
    const std::vector<size_t> to = sink_.declare(names);
    const auto add = [&](std::vector<std::string>& row, uint64_t line) {
      if (row.size() != width) {
        throw FormatError(fmt::format("'{}', line {}: {} fields where the header has {}",
                                      stream.where(), line, row.size(), width),
                          "quote fields that hold the separator, or mend the line");
      }
      if (commas)
        for (std::string& field : row) field = with_decimal_point(trim(field));
      sink_.add(row, to, line);
      sink_.tick(line, stream.consumed());
    };
    if (!header) {
      sink_.note(
          fmt::format("'{}': the first line holds a number or a blank, so it is no header; columns "
                      "are named column1 to column{}",
                      stream.where(), width));
      add(fields, first_line);
    }
    if (sink_.in_first_file() && separator != ',') {
      sink_.note(fmt::format("'{}': fields are separated by {}{}", stream.where(),
                             separator == '\t' ? "tabs" : fmt::format("'{}'", separator),
                             commas ? ", numbers have decimal commas" : ""));
    }
    if (more) add(second, parser.record_line());
    while (parser.next(fields)) add(fields, parser.record_line());
  }

  void json_lines(TextStream& stream) {
    simdjson::dom::parser parser;
    LineReader lines(stream);
    const auto fail = [&](const std::string& what) {
      throw FormatError(fmt::format("'{}', line {}: {}", stream.where(), lines.line_number(), what),
                        "each line holds one JSON object, as {\"age\": 39, \"income\": \"high\"}");
    };
    for (std::string_view line; lines.next(line);) {
      if (trim(line).empty()) continue;
      simdjson::dom::element element;
      if (const auto error = parser.parse(line.data(), line.size()).get(element)) {
        fail(fmt::format("not a JSON value ({})", simdjson::error_message(error)));
      }
      simdjson::dom::object object;
      if (element.get(object) != simdjson::SUCCESS) fail("not a JSON object");
      row_.assign(sink_.columns(), std::string());
      for (const auto& [key, value] : object) {
        int at = sink_.find(key);
        if (at < 0) {
          at = static_cast<int>(sink_.add_column(key));
          row_.emplace_back();
        }
        std::string& cell = row_[static_cast<size_t>(at)];
        std::string_view text;
        if (value.is_null()) {
          cell.clear();
        } else if (value.get(text) == simdjson::SUCCESS) {
          cell = text;
        } else {
          cell = simdjson::minify(value);
        }
      }
      sink_.add_row(row_, lines.line_number());
      sink_.tick(lines.line_number(), stream.consumed());
    }
  }

  /// Weka's format: @relation, @attribute NAME TYPE, @data, then rows; '%' begins a comment.
  void arff(TextStream& stream) {
    LineReader lines(stream);
    std::vector<std::string> names;
    const auto fail = [&](const std::string& what, const char* hint) {
      throw FormatError(fmt::format("'{}', line {}: {}", stream.where(), lines.line_number(), what),
                        hint);
    };
    std::string_view line;
    bool data = false;
    while (!data) {
      if (!lines.next(line)) fail("no @data line", "give a whole ARFF file");
      line = trim(line);
      if (line.empty() || line.front() == '%') continue;
      const std::string word = lower_ascii(line.substr(0, line.find_first_of(" \t")));
      if (word == "@data") {
        data = true;
      } else if (word == "@attribute") {
        names.push_back(arff_name(trim(line.substr(word.size()))));
        if (names.back().empty()) fail("an attribute without a name", "@attribute NAME TYPE");
      } else if (word != "@relation") {
        fail(fmt::format("'{}' is no ARFF declaration", word), "@relation, @attribute or @data");
      }
    }
    const std::vector<size_t> to = sink_.declare(names);
    while (lines.next(line)) {
      line = trim(line);
      if (line.empty() || line.front() == '%') continue;
      if (line.front() == '{') {
        fail("sparse rows are not read", "write the rows out in full (Weka: SparseToNonSparse)");
      }
      if (!arff_row(line)) fail("a quoted value is never closed", "close it by the same quote");
      if (fields_.size() != names.size()) {
        fail(
            fmt::format("{} values where {} attributes are declared", fields_.size(), names.size()),
            "quote values that hold a comma");
      }
      sink_.add(fields_, to, lines.line_number());
      sink_.tick(lines.line_number(), stream.consumed());
    }
  }

  static std::string arff_name(std::string_view rest) {
    if (rest.empty()) return {};
    const char quote = rest.front();
    if (quote != '\'' && quote != '"')
      return std::string(rest.substr(0, rest.find_first_of(" \t{")));
    const size_t end = rest.find(quote, 1);
    return end == std::string_view::npos ? std::string() : std::string(rest.substr(1, end - 1));
  }

  bool arff_row(std::string_view line) {
    fields_.clear();
    for (size_t at = 0;;) {
      while (at < line.size() && (line[at] == ' ' || line[at] == '\t')) ++at;
      std::string field;
      if (at < line.size() && (line[at] == '\'' || line[at] == '"')) {
        const char quote = line[at++];
        while (at < line.size() && line[at] != quote) {
          if (line[at] == '\\' && at + 1 < line.size()) ++at;
          field += line[at++];
        }
        if (at == line.size()) return false;
        at = line.find(',', at);
      } else {
        const size_t end = line.find(',', at);
        field = trim(line.substr(at, end == std::string_view::npos ? end : end - at));
        at = end;
      }
      fields_.push_back(std::move(field));
      if (at == std::string_view::npos) return true;
      ++at;
    }
  }

  TableSink& sink_;
  std::vector<std::string> row_, fields_;
};

/// What to give in place of what is no table.
std::string table_hint(const fs::path& path) {
  const std::vector<std::string> idx = idx_pictures_in(path);
  if (!idx.empty()) return fmt::format("give its file of pictures: {}", fmt::join(idx, " or "));
  return "tables end in .csv, .tsv, .jsonl or .arff (also .gz and .zst), .db or .sqlite, "
         ".parquet; pictures are .jpg, .png or .webp, folders of them, or an IDX file";
}

void read_one(const fs::path& path, TableLayout layout, const TableOptions& options,
              TableSink& sink) {
  switch (layout) {
    case TableLayout::kNone:
      throw Error("not_a_table", fmt::format("'{}' is no table", path.string()), table_hint(path));
    case TableLayout::kPictures:
      return read_pictures(path, sink);
    case TableLayout::kIdx:
      return read_idx_pictures(path, sink);
    case TableLayout::kSqlite:
      return read_sqlite(path, options.table, sink);
    case TableLayout::kParquet:
      return read_parquet(path, sink);
    default:
      TextTableReader(sink).read(open_bytes(path), path.string(), layout,
                                 content_extension(path) == ".tsv");
  }
}

}  // namespace

TableLayout table_layout(const fs::path& path) {
  const std::string extension = content_extension(path);
  if (extension == ".jsonl" || extension == ".ndjson") return TableLayout::kJsonLines;
  if (extension == ".csv" || extension == ".tsv") return TableLayout::kDelimited;
  if (extension == ".arff") return TableLayout::kArff;
  if (is_sqlite_name(path)) return TableLayout::kSqlite;
  if (extension == ".parquet" || extension == ".pq") return TableLayout::kParquet;
  if (is_idx_name(path)) return TableLayout::kIdx;
  std::error_code ignored;
  const bool pictures = fs::is_directory(path, ignored) ? is_picture_folder(path)
                                                        : is_picture_name(path.filename().string());
  return pictures ? TableLayout::kPictures : TableLayout::kNone;
}

bool holds_pictures(const fs::path& path) {
  const TableLayout layout = table_layout(path);
  return layout == TableLayout::kPictures || layout == TableLayout::kIdx;
}

bool holds_rows_alone(const fs::path& path) {
  const TableLayout layout = table_layout(path);
  return layout == TableLayout::kSqlite || layout == TableLayout::kParquet ||
         layout == TableLayout::kArff;
}

namespace {

/// Throws Error where the tables lie in several folders and name pictures from where they lie.
void require_one_folder(const Table& table, std::span<const fs::path> paths,
                        std::span<const size_t> begins) {
  for (size_t file = 1; file < paths.size(); ++file) {
    if (paths[file].parent_path() == paths[0].parent_path() || begins[file] >= table.rows())
      continue;
    for (size_t column = 0; column < table.columns().size(); ++column) {
      const std::string_view cell = table.cell(begins[file], column);
      if (!is_picture_name(cell) || fs::path(cell).is_absolute()) continue;
      throw Error("two_folders",
                  fmt::format("{}: the picture '{}' is looked for where its table lies, and the "
                              "tables lie in '{}' and '{}'",
                              table.where(begins[file]), cell.substr(0, 60),
                              paths[0].parent_path().string(), paths[file].parent_path().string()),
                  "put the tables into one folder, or name the pictures by whole paths");
    }
  }
}

}  // namespace

Table read_table(std::span<const fs::path> paths, const TableOptions& options, Reporter& reporter) {
  if (!options.table.empty() && std::none_of(paths.begin(), paths.end(), is_sqlite_name)) {
    throw UsageError("no_table",
                     fmt::format("--table {} names a table of a database, and '{}' is none",
                                 options.table, paths.front().string()),
                     "leave it out, or give a .db or .sqlite file");
  }
  TableSink sink(options.memory_budget, reporter);
  std::vector<size_t> begins;
  for (const fs::path& path : paths) {
    begins.push_back(sink.rows());
    read_one(path, table_layout(path), options, sink);
    sink.end_file();
  }
  // Names of pictures in a table start from its folder; those found here are whole already.
  const fs::path& first = paths.front();
  if (holds_pictures(first)) return sink.finish("");
  Table table = sink.finish(first.parent_path().string());
  require_one_folder(table, paths, begins);
  return table;
}

Table read_csv_text(std::string text, const std::string& where) {
  TableSink sink(TableOptions{}.memory_budget, silent_reporter());
  TextTableReader(sink).read(open_bytes(std::move(text), where), where, TableLayout::kDelimited,
                             false);
  return sink.finish("");
}

}  // namespace quern::data
