#include "quern/data/table_reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "quern/base/error.h"
#include "quern/base/strings.h"
#include "quern/data/byte_source.h"
#include "quern/data/csv_parser.h"
#include "quern/data/number.h"
#include "quern/data/picture.h"
#include "quern/data/text_stream.h"

namespace quern::data {
namespace {

constexpr size_t kMostColumns = 10'000;
constexpr uint64_t kTickRows = 4096;

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

fs::path without_compression(const fs::path& path) {
  const std::string extension = lower(path.extension().string());
  return extension == ".gz" || extension == ".zst" ? path.stem() : path.filename();
}

/// Reads files into one builder.
class TableReader {
 public:
  TableReader(const TableOptions& options, Reporter& reporter)
      : builder_(options.memory_budget), reporter_(reporter) {}

  void read(std::unique_ptr<ByteSource> source, const std::string& name, TableLayout layout,
            bool tsv) {
    TextStream stream(std::move(source), name);
    builder_.begin_file(name);
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
      reporter_.note(fmt::format("'{}': converted from {}", name, quern::name(stream.encoding())));
    }
    first_file_ = false;
  }

  /// A picture, a folder of pictures, or a folder of folders named by class.
  void pictures(const fs::path& path) {
    builder_.begin_file(path.string());
    std::vector<std::pair<fs::path, std::string>> found;  // file, class
    if (!fs::is_directory(path)) found.emplace_back(path, "");
    for (const fs::path& entry : children(path)) {
      if (!fs::is_directory(entry) && is_picture_name(entry.filename().string()))
        found.emplace_back(entry, "");
      for (const fs::path& file : children(entry)) {
        if (is_picture_name(file.filename().string()))
          found.emplace_back(file, entry.filename().string());
      }
    }
    std::vector<std::string> names = {std::string(kImageColumn)};
    const bool classes = std::any_of(found.begin(), found.end(),
                                     [](const auto& one) { return !one.second.empty(); });
    if (classes) names.emplace_back(kLabelColumn);
    const std::vector<size_t> to = declare(names, path.string());
    uint64_t line = 0;
    for (const auto& [file, label] : found) {
      std::vector<std::string> cells = {file.string()};
      if (classes) cells.push_back(label);
      add(cells, to, ++line);
    }
    first_file_ = false;
  }

  void idx(const fs::path& path) {
    builder_.begin_file(path.string());
    const Idx images = read_idx(path);
    std::string name = path.filename().string();
    for (const auto& [from, into] : std::initializer_list<std::pair<const char*, const char*>>{
             {"images", "labels"}, {"idx3", "idx1"}, {"idx4", "idx1"}}) {
      const size_t at = name.rfind(from);
      if (at != std::string::npos) name.replace(at, std::string_view(from).size(), into);
    }
    const fs::path label_path = path.parent_path() / name;
    std::vector<std::string> names = {std::string(kImageColumn)};
    Idx labels;
    if (label_path != path && fs::exists(label_path)) {
      labels = read_idx(label_path);
      names.emplace_back(kLabelColumn);
      if (labels.extents != std::vector<int64_t>{images.extents[0]}) {
        throw FormatError(fmt::format("'{}' holds other than one label for each of the {} pictures "
                                      "of '{}'",
                                      label_path.string(), images.extents[0], path.string()),
                          "give the labels that belong to the pictures");
      }
      reporter_.note(fmt::format("'{}': labels from '{}'", path.string(), label_path.string()));
    }
    const std::vector<size_t> to = declare(names, path.string());
    for (size_t i = 0; i < static_cast<size_t>(images.extents[0]); ++i) {
      std::vector<std::string> cells = {fmt::format("{}#{}", path.string(), i)};
      if (names.size() > 1) cells.push_back(std::to_string(static_cast<uint8_t>(labels.bytes[i])));
      add(cells, to, i + 1);
    }
    first_file_ = false;
  }

  Table finish(std::string folder, const std::string& where) {
    if (builder_.rows() == 0) {
      throw Error("no_rows", fmt::format("'{}' holds no rows", where),
                  "give a table with a header line and rows below it");
    }
    return builder_.finish(std::move(folder));
  }

 private:
  static std::vector<fs::path> children(const fs::path& folder) {
    std::vector<fs::path> entries;
    if (!fs::is_directory(folder)) return entries;
    for (const auto& entry : fs::directory_iterator(folder)) entries.push_back(entry.path());
    std::sort(entries.begin(), entries.end());
    return entries;
  }

  void tick(const TextStream& stream, uint64_t line) {
    if (builder_.rows() % kTickRows != 0) return;
    reporter_.progress(fmt::format("reading '{}': {} rows, line {}, {}", stream.where(),
                                   builder_.rows(), line,
                                   format_bytes(static_cast<double>(stream.consumed()))));
  }

  /// Declares the columns of a file; where[i]: the table's column of its field i.
  std::vector<size_t> declare(const std::vector<std::string>& header, const std::string& where) {
    std::set<std::string> seen;
    for (const std::string& name : header) {
      if (!seen.insert(name).second) {
        throw FormatError(fmt::format("'{}': two columns are named '{}'", where, name),
                          "rename one of them in the header line");
      }
    }
    if (header.size() > kMostColumns) {
      throw FormatError(
          fmt::format("'{}': {} columns; {} are the most", where, header.size(), kMostColumns),
          "one row is one record: check the separator, or transpose the table");
    }
    std::vector<size_t> to;
    std::vector<std::string> missing;
    for (const std::string& name : header) {
      const int found = builder_.find(name);
      if (first_file_) {
        to.push_back(builder_.add_column(name));
      } else if (found < 0) {
        missing.push_back(name);
      } else {
        to.push_back(static_cast<size_t>(found));
      }
    }
    for (const std::string& name : builder_.names()) {
      if (!seen.contains(name)) missing.push_back(name);
    }
    if (!missing.empty()) {
      throw Error("other_columns",
                  fmt::format("'{}' and the file before it differ in the columns {}", where,
                              fmt::join(missing, ", ")),
                  "give files with the same columns, or train on each alone");
    }
    return to;
  }

  /// A header names: it holds no number and no blank.
  static bool is_header(const std::vector<std::string>& fields) {
    return std::all_of(fields.begin(), fields.end(), [](const std::string& field) {
      const std::string_view name = trim(field);
      return !name.empty() && !parse_number(name);
    });
  }

  void delimited(TextStream& stream, bool tsv) {
    const char separator = detect_separator(stream.peek(), tsv);
    CsvParser parser(stream, separator);
    std::vector<std::string> fields;
    if (!parser.next(fields)) return;
    const size_t width = fields.size();
    std::vector<size_t> to;
    if (is_header(fields)) {
      for (std::string& field : fields) field = trim(field);
      to = declare(fields, stream.where());
    } else {
      std::vector<std::string> names;
      for (size_t i = 0; i < width; ++i) names.push_back(fmt::format("column{}", i + 1));
      reporter_.note(
          fmt::format("'{}': the first line holds a number, a blank or a repeat, so it is no "
                      "header; columns are "
                      "named column1 to column{}",
                      stream.where(), width));
      to = declare(names, stream.where());
      add(fields, to, parser.record_line());
    }
    if (first_file_ && separator != ',') {
      reporter_.note(fmt::format("'{}': fields are separated by {}", stream.where(),
                                 separator == '\t' ? "tabs" : fmt::format("'{}'", separator)));
    }
    while (parser.next(fields)) {
      if (fields.size() != width) {
        throw FormatError(fmt::format("'{}', line {}: {} fields where the header has {}",
                                      stream.where(), parser.record_line(), fields.size(), width),
                          "quote fields that hold the separator, or mend the line");
      }
      add(fields, to, parser.record_line());
      tick(stream, parser.record_line());
    }
  }

  void add(const std::vector<std::string>& fields, const std::vector<size_t>& to, uint64_t line) {
    row_.assign(builder_.columns(), std::string());
    for (size_t i = 0; i < fields.size(); ++i) row_[to[i]] = fields[i];
    builder_.add_row(row_, line);
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
      row_.assign(builder_.columns(), std::string());
      for (const auto& [key, value] : object) {
        int at = builder_.find(key);
        if (at < 0) {
          if (builder_.columns() >= kMostColumns) fail("the objects have too many fields");
          at = static_cast<int>(builder_.add_column(key));
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
      builder_.add_row(row_, lines.line_number());
      tick(stream, lines.line_number());
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
      const std::string word = lower(line.substr(0, line.find_first_of(" \t")));
      if (word == "@data") {
        data = true;
      } else if (word == "@attribute") {
        names.push_back(arff_name(trim(line.substr(word.size()))));
        if (names.back().empty()) fail("an attribute without a name", "@attribute NAME TYPE");
      } else if (word != "@relation") {
        fail(fmt::format("'{}' is no ARFF declaration", word), "@relation, @attribute or @data");
      }
    }
    const std::vector<size_t> to = declare(names, stream.where());
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
      add(fields_, to, lines.line_number());
      tick(stream, lines.line_number());
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

  TableBuilder builder_;
  Reporter& reporter_;
  bool first_file_ = true;
  std::vector<std::string> row_, fields_;
};

}  // namespace

TableLayout table_layout(const fs::path& path) {
  const std::string extension = lower(without_compression(path).extension().string());
  if (extension == ".jsonl" || extension == ".ndjson") return TableLayout::kJsonLines;
  if (extension == ".csv" || extension == ".tsv") return TableLayout::kDelimited;
  if (extension == ".arff") return TableLayout::kArff;
  if (is_idx_name(path)) return TableLayout::kIdx;
  std::error_code ignored;
  if (!fs::is_directory(path, ignored))
    return is_picture_name(path.filename().string()) ? TableLayout::kPictures : TableLayout::kNone;
  // A folder counts by the first files that are found in it.
  for (const auto& entry : fs::directory_iterator(path, ignored)) {
    if (!entry.is_directory(ignored)) {
      if (is_picture_name(entry.path().filename().string())) return TableLayout::kPictures;
      continue;
    }
    for (const auto& file : fs::directory_iterator(entry.path(), ignored)) {
      if (is_picture_name(file.path().filename().string())) return TableLayout::kPictures;
    }
  }
  return TableLayout::kNone;
}

bool holds_pictures(const fs::path& path) {
  const TableLayout layout = table_layout(path);
  return layout == TableLayout::kPictures || layout == TableLayout::kIdx;
}

Table read_table(std::span<const fs::path> paths, const TableOptions& options, Reporter& reporter) {
  TableReader reader(options, reporter);
  for (const fs::path& path : paths) {
    const TableLayout layout = table_layout(path);
    if (layout == TableLayout::kNone) {
      throw Error("not_a_table", fmt::format("'{}' is no table", path.string()),
                  "tables end in .csv, .tsv, .jsonl or .arff (also .gz and .zst); pictures are "
                  ".jpg, .png or .webp, folders of them, or an IDX file");
    }
    if (layout == TableLayout::kPictures) {
      reader.pictures(path);
      continue;
    }
    if (layout == TableLayout::kIdx) {
      reader.idx(path);
      continue;
    }
    const bool tsv = lower(without_compression(path).extension().string()) == ".tsv";
    reader.read(open_bytes(path), path.string(), layout, tsv);
  }
  // Names of pictures in a table start from its folder; those found here are whole already.
  const fs::path& first = paths.front();
  return reader.finish(holds_pictures(first) ? "" : first.parent_path().string(), first.string());
}

Table read_csv_text(std::string text, const std::string& where) {
  TableReader reader({}, silent_reporter());
  reader.read(open_bytes(std::move(text), where), where, TableLayout::kDelimited, false);
  return reader.finish("", where);
}

}  // namespace quern::data
