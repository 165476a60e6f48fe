#include "quern/data/table.h"

#include <fmt/format.h>

#include <algorithm>

#include "quern/base/strings.h"

namespace quern::data {

int Table::find(std::string_view column) const {
  const auto it = std::find(columns_.begin(), columns_.end(), column);
  return it == columns_.end() ? -1 : static_cast<int>(it - columns_.begin());
}

std::string_view Table::cell(size_t row, size_t column) const {
  const auto first = first_cells_.values<uint64_t>();
  const uint64_t index = first[row] + column;
  if (index >= first[row + 1]) return {};
  const auto ends = ends_.values<uint64_t>();
  const uint64_t begin = index == 0 ? 0 : ends[index - 1];
  return text_.bytes().substr(begin, ends[index] - begin);
}

std::string Table::where(size_t row) const {
  auto file = std::upper_bound(files_.begin(), files_.end(), row,
                               [](size_t r, const File& f) { return r < f.first_row; });
  static const File kNone{"", "line", 0};
  const File& from = file == files_.begin() ? kNone : *std::prev(file);
  return fmt::format("'{}', {} {}", from.name, from.unit, lines_.values<uint64_t>()[row]);
}

TableBuilder::TableBuilder(size_t memory_budget) {
  for (SpillBuffer* buffer : {&table_.text_, &table_.ends_, &table_.first_cells_, &table_.lines_}) {
    *buffer = SpillBuffer(memory_budget / 4);
  }
  table_.first_cells_.append_value(uint64_t{0});
}

size_t TableBuilder::add_column(std::string_view name) {
  table_.columns_.emplace_back(name);
  return table_.columns_.size() - 1;
}

void TableBuilder::begin_file(std::string name, std::string_view unit) {
  table_.files_.push_back({std::move(name), std::string(unit), rows_});
}

void TableBuilder::add_row(std::span<const std::string> cells, uint64_t line) {
  for (const std::string& cell : cells) {
    const std::string_view text = trim(cell);
    table_.text_.append(text);
    bytes_ += text.size();
    table_.ends_.append_value(bytes_);
    hasher_.update(text);
    hasher_.update(std::string_view("\0", 1));
  }
  cells_ += cells.size();
  table_.first_cells_.append_value(cells_);
  table_.lines_.append_value(line);
  ++rows_;
}

Table TableBuilder::finish(std::string folder) {
  for (SpillBuffer* buffer : {&table_.text_, &table_.ends_, &table_.first_cells_, &table_.lines_}) {
    buffer->finish();
  }
  for (const std::string& name : table_.columns_) hasher_.update(name + '\n');
  table_.fingerprint_ = hasher_.hex();
  table_.folder_ = std::move(folder);
  return std::move(table_);
}

}  // namespace quern::data
