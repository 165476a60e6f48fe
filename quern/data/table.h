#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quern/base/hash.h"
#include "quern/base/spill_buffer.h"

namespace quern::data {

/// Rows of named columns, as text. May be larger than memory: beyond a budget the cells lie in
/// temporary files.
class Table {
 public:
  size_t rows() const { return first_cells_.values<uint64_t>().size() - 1; }
  std::span<const std::string> columns() const { return columns_; }
  /// -1: none of that name.
  int find(std::string_view column) const;
  /// As it stands in the file, quotes resolved, white space at both ends left out; "" where the row
  /// has none.
  std::string_view cell(size_t row, size_t column) const;
  /// Where a row comes from: "'adult.csv', line 17"; of texts, "'poems.txt', document 17".
  std::string where(size_t row) const;
  /// Of columns and cells.
  const std::string& fingerprint() const { return fingerprint_; }
  /// The folder that relative paths in cells start from.
  const std::string& folder() const { return folder_; }

 private:
  friend class TableBuilder;
  std::vector<std::string> columns_;
  SpillBuffer text_, ends_, first_cells_, lines_;  // ends_: of each cell; first_cells_: of each row
  struct File {
    std::string name, unit;
    size_t first_row = 0;
  };
  std::vector<File> files_;
  std::string fingerprint_, folder_;
};

/// Makes a Table row by row.
class TableBuilder {
 public:
  explicit TableBuilder(size_t memory_budget = size_t{256} << 20);

  /// A name that is new; the rows before have nothing in it. Returns its index.
  size_t add_column(std::string_view name);
  size_t columns() const { return table_.columns_.size(); }
  int find(std::string_view name) const { return table_.find(name); }
  std::span<const std::string> names() const { return table_.columns_; }
  /// The rows that follow are of this file, and counted in `unit`s of it.
  void begin_file(std::string name, std::string_view unit = "line");
  /// Fewer cells than columns: the rest is empty.
  void add_row(std::span<const std::string> cells, uint64_t line);
  size_t rows() const { return rows_; }
  Table finish(std::string folder);

 private:
  Table table_;
  Hasher hasher_;
  size_t rows_ = 0;
  uint64_t cells_ = 0, bytes_ = 0;
};

}  // namespace quern::data
