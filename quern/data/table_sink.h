#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quern/base/progress.h"
#include "quern/data/table.h"

namespace quern::data {

/// What the reader of each format writes into: one table, of files that have the same columns.
class TableSink {
 public:
  TableSink(size_t memory_budget, Reporter& reporter)
      : builder_(memory_budget), reporter_(reporter) {}

  /// The rows that follow are of this file, and counted in `unit`s of it.
  void begin_file(std::string name, std::string_view unit = "line");
  void end_file() { first_file_ = false; }
  bool in_first_file() const { return first_file_; }

  /// The columns of the file; gives the table's column of its field i. Throws FormatError (two of
  /// one name, too many) and Error("other_columns") naming those that differ from the file before.
  std::vector<size_t> declare(std::span<const std::string> names);
  /// A column of the first file, found while its rows are read. Throws FormatError: too many.
  size_t add_column(std::string_view name);
  int find(std::string_view name) const { return builder_.find(name); }
  size_t columns() const { return builder_.columns(); }
  size_t rows() const { return builder_.rows(); }

  /// A row whose field i belongs to column to[i].
  void add(std::span<const std::string> fields, std::span<const size_t> to, uint64_t line);
  /// A row in the order of the table's columns.
  void add_row(std::span<const std::string> cells, uint64_t line) { builder_.add_row(cells, line); }
  /// Tells how far reading is, now and then. 0 bytes: not told.
  void tick(uint64_t line, uint64_t consumed_bytes);
  void note(const std::string& text) { reporter_.note(text); }

  /// Throws Error("no_rows").
  Table finish(std::string folder);

 private:
  TableBuilder builder_;
  Reporter& reporter_;
  bool first_file_ = true;
  std::string file_, first_, unit_;
  std::vector<std::string> row_;
};

}  // namespace quern::data
