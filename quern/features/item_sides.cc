#include "quern/features/item_sides.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>

#include "quern/base/error.h"
#include "quern/base/strings.h"
#include "quern/base/text_encoding.h"
#include "quern/data/column_types.h"

namespace quern::features {
namespace {

constexpr size_t kBins = 16;
constexpr size_t kWords = 8;

/// Words in small letters: runs of letters and digits; a character beyond U+2E80 (Chinese) is a
/// word of its own.
std::vector<std::string> words_of(std::string_view text) {
  const std::string small = lower_ascii(text);
  std::vector<std::string> words;
  bool open = false;
  for (std::string_view rest = small; !rest.empty();) {
    const CodePoint point = decode_utf8(rest);
    const std::string_view bytes = rest.substr(0, point.length);
    rest.remove_prefix(point.length);
    const bool letter = point.value >= 0x80 || (point.value >= 'a' && point.value <= 'z') ||
                        (point.value >= '0' && point.value <= '9');
    const bool alone = point.value >= 0x2E80;
    if (!letter || alone) open = false;
    if (!letter) continue;
    if (open) {
      words.back() += bytes;
    } else {
      words.emplace_back(bytes);
      open = !alone;
    }
  }
  if (words.size() > kWords) words.resize(kWords);
  return words;
}

/// A column as the rows of the embedding table that each item adds up.
class SideColumn {
 public:
  SideColumn(const data::ColumnFacts& facts, size_t index) : facts_(facts), index_(index) {}

  size_t index() const { return index_; }
  size_t slots() const { return facts_.type == data::ColumnType::kText ? kWords : 1; }

  /// On the cells of the items that training knows. Returns how many rows it takes.
  int64_t fit(const data::Table& table, const std::vector<size_t>& rows, int64_t first) {
    first_ = first;
    if (facts_.type == data::ColumnType::kNumber) return fit_bounds(table, rows);
    std::map<std::string, size_t, std::less<>> counts;
    for (const size_t row : rows) {
      std::set<std::string> different;
      for (std::string& word : parts(table.cell(row, index_))) different.insert(std::move(word));
      for (const std::string& word : different) ++counts[word];
    }
    for (const auto& [word, count] : counts)
      if (count >= 2) codes_.emplace(word, first_ + static_cast<int64_t>(codes_.size()));
    return static_cast<int64_t>(codes_.size());
  }

  void encode(std::string_view cell, int32_t* out) const {
    std::fill_n(out, slots(), -1);
    if (facts_.type == data::ColumnType::kNumber) {
      if (const auto value = data::parse_written_number(cell)) {
        const auto bin = std::upper_bound(bounds_.begin(), bounds_.end(), *value) - bounds_.begin();
        *out = static_cast<int32_t>(first_ + bin);
      }
      return;
    }
    for (const std::string& word : parts(cell)) {
      const auto found = codes_.find(word);
      if (found != codes_.end()) *out++ = static_cast<int32_t>(found->second);
    }
  }

 private:
  std::vector<std::string> parts(std::string_view cell) const {
    if (data::is_missing(cell)) return {};
    if (facts_.type == data::ColumnType::kText) return words_of(cell);
    return {std::string(cell)};
  }

  int64_t fit_bounds(const data::Table& table, const std::vector<size_t>& rows) {
    std::vector<double> values;
    for (const size_t row : rows)
      if (const auto value = data::parse_written_number(table.cell(row, index_)))
        values.push_back(*value);
    if (values.empty()) return 0;
    std::sort(values.begin(), values.end());
    for (size_t i = 1; i < kBins; ++i) bounds_.push_back(values[i * values.size() / kBins]);
    bounds_.erase(std::unique(bounds_.begin(), bounds_.end()), bounds_.end());
    return static_cast<int64_t>(bounds_.size()) + 1;
  }

  const data::ColumnFacts& facts_;
  size_t index_;
  int64_t first_ = 0;
  std::vector<double> bounds_;
  std::map<std::string, int64_t, std::less<>> codes_;
};

size_t require_column(const data::Table& table, const std::string& name) {
  const int found = table.find(name);
  if (found >= 0) return static_cast<size_t>(found);
  throw UsageError("no_column", fmt::format("the table of items has no column '{}'", name),
                   fmt::format("columns: {}", fmt::join(table.columns(), ", ")));
}

bool tells(data::ColumnType type) {
  return type == data::ColumnType::kNumber || type == data::ColumnType::kCategory ||
         type == data::ColumnType::kText;
}

/// A row an item, the first that the table has of it.
struct ItemRows {
  data::Table table;
  std::vector<uint32_t> ids;  // (rows)
};

/// New names get ids.
ItemRows one_row_an_item(const data::Table& table, size_t column,
                         std::span<const std::string> left_out, ItemVocabulary& vocabulary) {
  data::TableBuilder builder;
  for (const std::string& name : table.columns()) builder.add_column(name);
  builder.begin_file("table of items", "row");
  ItemRows out;
  std::vector<bool> there(vocabulary.size() + 1);
  std::vector<std::string> cells(table.columns().size());
  for (size_t row = 0; row < table.rows(); ++row) {
    const std::string_view name = table.cell(row, column);
    if (data::is_missing(name) || std::binary_search(left_out.begin(), left_out.end(), name))
      continue;
    const uint32_t id = vocabulary.find_or_add(name);
    if (id >= there.size()) there.resize(id + 1);
    if (there[id]) continue;
    there[id] = true;
    for (size_t i = 0; i < cells.size(); ++i) cells[i] = table.cell(row, i);
    builder.add_row(cells, row + 1);
    out.ids.push_back(id);
  }
  out.table = builder.finish(table.folder());
  return out;
}

}  // namespace

ItemSides make_item_sides(const data::Table& table, const std::string& item_column,
                          const std::vector<std::string>& columns,
                          std::span<const std::string> left_out, ItemVocabulary& vocabulary,
                          Reporter& reporter) {
  const size_t item = require_column(table, item_column);
  for (const std::string& name : columns) require_column(table, name);
  const size_t known = vocabulary.size();
  const ItemRows items = one_row_an_item(table, item, left_out, vocabulary);
  std::vector<size_t> fitted;
  for (size_t row = 0; row < items.ids.size(); ++row)
    if (items.ids[row] <= known) fitted.push_back(row);
  ItemSides sides;
  const std::vector<data::ColumnFacts> facts = data::infer_types(items.table, {});
  std::vector<SideColumn> used;
  for (size_t i = 0; i < facts.size(); ++i) {
    const bool asked = columns.empty() ||
                       std::find(columns.begin(), columns.end(), facts[i].name) != columns.end();
    if (i == item || !asked) continue;
    SideColumn column(facts[i], i);
    const int64_t taken = tells(facts[i].type) ? column.fit(items.table, fitted, sides.rows) : 0;
    reporter.note(fmt::format("item column {}: {}{} ({})", facts[i].name, data::name(facts[i].type),
                              taken == 0 ? ", left out" : "", facts[i].reason));
    if (taken == 0) continue;
    sides.rows += taken;
    sides.slots += static_cast<int64_t>(column.slots());
    sides.columns.push_back(facts[i].name);
    used.push_back(std::move(column));
  }
  if (used.empty()) {
    throw Error("no_item_columns", "no column of the items tells anything that two of them share",
                "give columns of categories, numbers or texts");
  }
  sides.codes.assign((vocabulary.size() + 1) * static_cast<size_t>(sides.slots), -1);
  for (size_t row = 0; row < items.ids.size(); ++row) {
    int32_t* out = sides.codes.data() + items.ids[row] * static_cast<size_t>(sides.slots);
    for (const SideColumn& column : used) {
      column.encode(items.table.cell(row, column.index()), out);
      out += column.slots();
    }
  }
  return sides;
}

}  // namespace quern::features
