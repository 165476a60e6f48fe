#include "quern/data/sqlite_reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <bit>
#include <memory>
#include <system_error>
#include <vector>

#include "quern/base/error.h"
#include "quern/base/strings.h"
#include "quern/base/text_encoding.h"
#include "quern/data/byte_source.h"

namespace quern::data {
namespace {

constexpr std::string_view kMagic("SQLite format 3\0", 16);
constexpr int kLongestValue = 1 << 28;  // bytes
constexpr int kPatience = 5000;         // milliseconds, for another program's lock

struct Close {
  void operator()(sqlite3* database) const { sqlite3_close_v2(database); }
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};

/// A database, and what its errors say.
class Database {
 public:
  explicit Database(const fs::path& path) : path_(path.string()) {
    require_whole(path);
    sqlite3* opened = nullptr;
    const int code =
        sqlite3_open_v2(path.c_str(), &opened, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, nullptr);
    database_.reset(opened);
    if (code != SQLITE_OK) fail();
    // The file may come from anywhere: its schema calls no function that does something.
    sqlite3_db_config(opened, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
    sqlite3_db_config(opened, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
    sqlite3_limit(opened, SQLITE_LIMIT_LENGTH, kLongestValue);
    sqlite3_busy_timeout(opened, kPatience);
  }

  std::unique_ptr<sqlite3_stmt, Close> prepare(const std::string& sql) const {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v2(database_.get(), sql.c_str(), -1, &statement, nullptr) != SQLITE_OK)
      fail();
    return std::unique_ptr<sqlite3_stmt, Close>(statement);
  }
  /// False at the end.
  bool step(sqlite3_stmt* statement) const {
    const int code = sqlite3_step(statement);
    if (code != SQLITE_ROW && code != SQLITE_DONE) fail();
    return code == SQLITE_ROW;
  }
  const std::string& path() const { return path_; }

 private:
  [[noreturn]] void fail() const {
    throw FormatError(fmt::format("'{}': SQLite says: {}", path_, sqlite3_errmsg(database_.get())),
                      "check it with: sqlite3 FILE 'PRAGMA integrity_check'");
  }

  /// By its first bytes a database, and of whole pages: SQLite takes what is cut off the last one
  /// for zeros.
  static void require_whole(const fs::path& path) {
    std::array<char, kMagic.size() + 2> bytes{};
    const auto source = open_bytes(path);
    const size_t count = source->read(bytes);
    if (count < bytes.size() || std::string_view(bytes.data(), kMagic.size()) != kMagic) {
      throw FormatError(fmt::format("'{}' is no SQLite database", path.string()),
                        "give one, or name the file by what it holds (.csv, .tsv, .jsonl)");
    }
    const std::string extension = lower_ascii(path.extension().string());
    if (extension == ".gz" || extension == ".zst") {
      throw FormatError(fmt::format("'{}': a database is read in place", path.string()),
                        extension == ".gz" ? "decompress it first: gunzip -k FILE"
                                           : "decompress it first: zstd -d FILE");
    }
    // Big-endian; 1 stands for 65,536 (https://www.sqlite.org/fileformat.html, 1.3.2).
    const auto high = static_cast<uint8_t>(bytes[kMagic.size()]);
    const auto low = static_cast<uint8_t>(bytes[kMagic.size() + 1]);
    const uintmax_t stated = static_cast<uintmax_t>(high) << 8 | low;
    const uintmax_t page = stated == 1 ? 65536 : stated;
    std::error_code error;
    const uintmax_t size = fs::file_size(path, error);
    const bool legal = page >= 512 && std::has_single_bit(page);
    if (!legal || error || size % page == 0) return;  // SQLite says what is wrong
    throw FormatError(fmt::format("'{}': {} bytes are no whole number of pages of {}: it was cut "
                                  "short",
                                  path.string(), size, page),
                      "copy or fetch it again");
  }

  std::string path_;
  std::unique_ptr<sqlite3, Close> database_;
};

std::string_view text_of(sqlite3_stmt* statement, int column) {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, column));
  if (text == nullptr) return {};
  return {text, static_cast<size_t>(sqlite3_column_bytes(statement, column))};
}

/// The table asked for, or the only one.
std::string choose_table(const Database& database, const std::string& said) {
  std::vector<std::string> tables, all;
  const auto list = database.prepare(
      "SELECT name, type FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE "
      "'sqlite\\_%' ESCAPE '\\' ORDER BY name");
  while (database.step(list.get())) {
    all.emplace_back(text_of(list.get(), 0));
    if (text_of(list.get(), 1) == "table") tables.push_back(all.back());
  }
  if (all.empty()) {
    throw FormatError(fmt::format("'{}': the database has no table", database.path()),
                      "give one that has");
  }
  if (said.empty()) {
    if (tables.size() == 1) return tables.front();
    throw UsageError("which_table",
                     fmt::format("'{}' has the tables {}", database.path(), fmt::join(all, ", ")),
                     "name one with --table NAME");
  }
  if (std::find(all.begin(), all.end(), said) != all.end()) return said;
  const auto near = nearest(said, all);
  throw UsageError("no_table", fmt::format("'{}' has no table '{}'", database.path(), said),
                   near ? fmt::format("did you mean '{}'?", *near)
                        : fmt::format("tables: {}", fmt::join(all, ", ")));
}

std::string quoted_name(std::string_view name) {
  std::string out = "\"";
  for (const char c : name) out += c == '"' ? "\"\"" : std::string(1, c);
  return out + "\"";
}

/// Rows of a SELECT into a sink.
class RowReader {
 public:
  RowReader(const Database& database, sqlite3_stmt* rows, TableSink& sink)
      : database_(database), rows_(rows), sink_(sink) {
    for (int i = 0; i < sqlite3_column_count(rows); ++i)
      names_.emplace_back(trim(sqlite3_column_name(rows, i)));
    binary_.assign(names_.size(), false);
  }

  void run() {
    const std::vector<size_t> to = sink_.declare(names_);
    std::vector<std::string> fields(names_.size());
    for (uint64_t row = 1; database_.step(rows_); ++row) {
      for (size_t i = 0; i < fields.size(); ++i) read(i, row, fields[i]);
      sink_.add(fields, to, row);
      sink_.tick(row, 0);
    }
  }

 private:
  void read(size_t column, uint64_t row, std::string& field) {
    const int index = static_cast<int>(column);
    switch (sqlite3_column_type(rows_, index)) {
      case SQLITE_INTEGER:
        field = std::to_string(sqlite3_column_int64(rows_, index));
        break;
      case SQLITE_FLOAT:
        // The shortest text that gives the number back.
        field = fmt::format("{}", sqlite3_column_double(rows_, index));
        break;
      case SQLITE_TEXT: {
        const std::string_view text = text_of(rows_, index);
        if (find_invalid_utf8(text) || text.find('\0') != std::string_view::npos) {
          throw FormatError(fmt::format("'{}', row {}, column {}: bytes that are no text",
                                        database_.path(), row, names_[column]),
                            "mend the value, or store it as a BLOB");
        }
        field = text;
        break;
      }
      case SQLITE_BLOB:
        if (!binary_[column]) {
          sink_.note(fmt::format("'{}': column {} holds binary values: left empty",
                                 database_.path(), names_[column]));
          binary_[column] = true;
        }
        field.clear();
        break;
      default:
        field.clear();
    }
  }

  const Database& database_;
  sqlite3_stmt* rows_;
  TableSink& sink_;
  std::vector<std::string> names_;
  std::vector<bool> binary_;  // noted already
};

}  // namespace

bool is_sqlite_name(const fs::path& path) {
  const std::string extension = content_extension(path);
  return extension == ".db" || extension == ".sqlite" || extension == ".sqlite3";
}

void read_sqlite(const fs::path& path, const std::string& table, TableSink& sink) {
  sink.begin_file(path.string(), "row");
  const Database database(path);
  const std::string name = choose_table(database, table);
  if (table.empty()) sink.note(fmt::format("'{}': table {} (the only one)", path.string(), name));
  const auto rows = database.prepare("SELECT * FROM " + quoted_name(name));
  RowReader(database, rows.get(), sink).run();
}

}  // namespace quern::data
