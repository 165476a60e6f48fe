#include "quern/data/table_sink.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <set>

#include "quern/base/error.h"

namespace quern::data {
namespace {

constexpr size_t kMostColumns = 10'000;
constexpr uint64_t kTickRows = 4096;

}  // namespace

void TableSink::begin_file(std::string name, std::string_view unit) {
  builder_.begin_file(name, unit);
  file_ = std::move(name);
  unit_ = unit;
  if (first_file_) first_ = file_;
}

std::vector<size_t> TableSink::declare(std::span<const std::string> names) {
  std::set<std::string_view> seen;
  for (const std::string& name : names) {
    if (!seen.insert(name).second) {
      throw FormatError(fmt::format("'{}': two columns are named '{}'", file_, name),
                        "rename one of them in the header line");
    }
  }
  std::vector<size_t> to;
  std::vector<std::string> missing;
  for (const std::string& name : names) {
    const int found = builder_.find(name);
    if (first_file_) {
      to.push_back(add_column(name));
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
                fmt::format("'{}' and the file before it differ in the columns {}", file_,
                            fmt::join(missing, ", ")),
                "give files with the same columns, or train on each alone");
  }
  return to;
}

size_t TableSink::add_column(std::string_view name) {
  if (builder_.columns() >= kMostColumns) {
    throw FormatError(fmt::format("'{}': more than {} columns", file_, kMostColumns),
                      "one row is one record: check the separator, or transpose the table");
  }
  return builder_.add_column(name);
}

void TableSink::add(std::span<const std::string> fields, std::span<const size_t> to,
                    uint64_t line) {
  // As a rule the fields stand in the table's order, and need not be copied.
  bool in_order = to.size() == builder_.columns() && fields.size() == to.size();
  for (size_t i = 0; in_order && i < to.size(); ++i) in_order = to[i] == i;
  if (in_order) {
    builder_.add_row(fields, line);
    return;
  }
  row_.assign(builder_.columns(), std::string());
  for (size_t i = 0; i < fields.size(); ++i) row_[to[i]] = fields[i];
  builder_.add_row(row_, line);
}

void TableSink::tick(uint64_t line, uint64_t consumed_bytes) {
  if (builder_.rows() % kTickRows != 0) return;
  const std::string bytes =
      consumed_bytes > 0 ? ", " + format_bytes(static_cast<double>(consumed_bytes)) : "";
  reporter_.progress(
      fmt::format("reading '{}': {} rows, {} {}{}", file_, builder_.rows(), unit_, line, bytes));
}

Table TableSink::finish(std::string folder) {
  if (builder_.rows() == 0) {
    throw Error("no_rows", fmt::format("'{}' holds no rows", first_),
                "give a table with a header line and rows below it");
  }
  return builder_.finish(std::move(folder));
}

}  // namespace quern::data
