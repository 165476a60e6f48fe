#include "quern/data/interactions.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "quern/base/error.h"
#include "quern/base/strings.h"
#include "quern/data/number.h"
#include "quern/data/time_style.h"

namespace quern::data {
namespace {

using Names = std::span<const std::string_view>;
constexpr std::array<std::string_view, 13> kUsers = {
    "userid",    "user",    "customerid", "customer",  "visitorid", "memberid", "reviewerid",
    "accountid", "buyerid", "uid",        "sessionid", "用户",      "用户id"};
constexpr std::array<std::string_view, 17> kItems = {
    "itemid",     "item",      "productid", "product", "movieid", "asin",
    "parentasin", "sku",       "stockcode", "bookid",  "trackid", "songid",
    "artistid",   "articleid", "iid",       "商品",    "商品id"};
constexpr std::array<std::string_view, 11> kTimes = {
    "timestamp",   "time",      "datetime",       "date", "eventtime", "createdat",
    "invoicedate", "orderdate", "unixreviewtime", "ts",   "时间"};

/// "Customer ID" and "customer_id" alike: "customerid".
std::string plain(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (c == '_' || c == ' ' || c == '-' || c == '.') continue;
    out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return out;
}

std::optional<std::string> by_name(const Table& table, Names known) {
  for (const std::string_view name : known) {
    for (const std::string& column : table.columns())
      if (plain(column) == name) return column;
  }
  return std::nullopt;
}

/// A thousandth of what the column counts in, so that parts of a second order too.
std::optional<int64_t> read_time(const TimeStyle& style, std::string_view cell) {
  constexpr double kMost = 9e15;  // a thousand times as much fits
  const auto value = style.read(cell);
  if (!value || *value > kMost || *value < -kMost) return std::nullopt;
  return static_cast<int64_t>(*value * 1000);
}

/// Whether items that repeat have the same value each time, and most items one of their own: a
/// barcode or a day of publication, not when anyone took them.
bool names_items(const Table& table, size_t column, size_t item_column) {
  constexpr size_t kRows = 100'000, kRepeats = 5;
  std::unordered_map<std::string_view, std::string_view> value_of;
  std::unordered_set<std::string_view> values;
  size_t repeats = 0;
  for (size_t row = 0; row < std::min(table.rows(), kRows); ++row) {
    const std::string_view value = table.cell(row, column);
    const auto [known, added] = value_of.try_emplace(table.cell(row, item_column), value);
    if (!added && known->second != value) return false;
    repeats += static_cast<size_t>(!added);
    values.insert(value);
  }
  return repeats >= kRepeats && 2 * values.size() > value_of.size();
}

/// Whether numbers from `least` to `most` are seconds since 1970, thousandths or millionths of one,
/// of the years 1980 to 2049.
bool in_recent_years(double least, double most) {
  constexpr double kYear1980 = 315'532'800, kYear2050 = 2'524'608'000;
  return std::ranges::any_of(std::array{1.0, 1e3, 1e6}, [&](double unit) {
    return least >= kYear1980 * unit && most < kYear2050 * unit;
  });
}

bool looks_like_time(const Table& table, size_t column, size_t item_column) {
  const size_t rows = std::min<size_t>(table.rows(), 1000);
  const TimeStyle style(table, column, rows);
  double least = std::numeric_limits<double>::infinity(), most = -least;
  for (size_t row = 0; row < rows; ++row) {
    const auto thousandths = read_time(style, table.cell(row, column));
    if (!thousandths) return false;
    least = std::min(least, static_cast<double>(*thousandths) / 1000);
    most = std::max(most, static_cast<double>(*thousandths) / 1000);
  }
  return rows > 0 && (!style.number() || in_recent_years(least, most)) &&
         !names_items(table, column, item_column);
}

size_t require_column(const Table& table, const std::string& name, std::string_view key) {
  const int column = table.find(name);
  if (column >= 0) return static_cast<size_t>(column);
  const auto near = nearest(name, table.columns());
  throw UsageError("no_column", fmt::format("{} = {}: no column of that name", key, name),
                   near ? fmt::format("did you mean {}?", *near)
                        : fmt::format("columns: {}", fmt::join(table.columns(), ", ")));
}

std::string choose(const Table& table, const std::string& said, Names known, std::string_view key,
                   Reporter& reporter) {
  if (!said.empty()) {
    require_column(table, said, key);
    return said;
  }
  const auto found = by_name(table, known);
  if (!found) return {};
  reporter.note(
      fmt::format("{}: {} (by its name; override with --set {}=COLUMN)", key, *found, key));
  return *found;
}

/// Names to numbers, in the order in which they first appear.
class Numbering {
 public:
  uint32_t number(std::string_view name, std::vector<std::string>& names) {
    const auto [it, added] =
        numbers_.try_emplace(std::string(name), static_cast<uint32_t>(names.size()));
    if (added) names.emplace_back(name);
    return it->second;
  }

 private:
  std::unordered_map<std::string, uint32_t> numbers_;
};

/// User by user; within a user by time, and as in the file where times are equal.
void sort_by_user_and_time(Interactions& log, const std::vector<uint32_t>& users) {
  const size_t count = users.size();
  log.begins.assign(log.users.size() + 1, 0);
  for (const uint32_t user : users) ++log.begins[user + 1];
  std::partial_sum(log.begins.begin(), log.begins.end(), log.begins.begin());
  std::vector<uint64_t> next(log.begins.begin(), log.begins.end() - 1);
  std::vector<uint64_t> order(count);
  for (size_t i = 0; i < count; ++i) order[next[users[i]]++] = i;
  for (size_t user = 0; user < log.users.size(); ++user) {
    std::stable_sort(order.begin() + static_cast<std::ptrdiff_t>(log.begins[user]),
                     order.begin() + static_cast<std::ptrdiff_t>(log.begins[user + 1]),
                     [&](uint64_t a, uint64_t b) { return log.time_of[a] < log.time_of[b]; });
  }
  std::vector<uint32_t> items(count);
  std::vector<int64_t> times(count);
  for (size_t i = 0; i < count; ++i) {
    items[i] = log.item_of[order[i]];
    times[i] = log.time_of[order[i]];
  }
  log.item_of = std::move(items);
  log.time_of = std::move(times);
}

}  // namespace

LogColumns infer_log_columns(const Table& table, const LogColumns& said, Reporter& reporter) {
  LogColumns columns;
  columns.user = choose(table, said.user, kUsers, "data.user", reporter);
  columns.item = choose(table, said.item, kItems, "data.item", reporter);
  const bool untimed = said.time == kNoTime && table.find(kNoTime) < 0;
  if (!untimed) columns.time = choose(table, said.time, kTimes, "data.time", reporter);
  for (const auto& [name, key] : {std::pair(columns.user, "user"), {columns.item, "item"}}) {
    if (!name.empty()) continue;
    throw UsageError("no_column",
                     fmt::format("no column looks like the {} of an interaction (columns: {})", key,
                                 fmt::join(table.columns(), ", ")),
                     fmt::format("name it with --set data.{}=COLUMN", key));
  }
  if (columns.user == columns.item) {
    throw UsageError("bad_value",
                     fmt::format("column {} is both the user and the item", columns.user),
                     "name them with --set data.user=COLUMN --set data.item=COLUMN");
  }
  const auto item = static_cast<size_t>(table.find(columns.item));
  for (size_t i = 0; !untimed && columns.time.empty() && i < table.columns().size(); ++i) {
    const std::string& name = table.columns()[i];
    if (name == columns.user || name == columns.item || !looks_like_time(table, i, item)) continue;
    columns.time = name;
    reporter.note(
        fmt::format("data.time: {} (its values are times; override with --set data.time=COLUMN, "
                    "or none for the order of the file)",
                    name));
  }
  if (columns.time.empty()) {
    reporter.note(
        "data.time: no column of times; interactions are taken in the order of the file (name one "
        "with --set data.time=COLUMN)");
  }
  return columns;
}

Interactions read_interactions(const Table& table, const LogColumns& said, Reporter& reporter) {
  Interactions log;
  log.columns = infer_log_columns(table, said, reporter);
  log.fingerprint = table.fingerprint();
  const size_t user_column = require_column(table, log.columns.user, "data.user");
  const size_t item_column = require_column(table, log.columns.item, "data.item");
  const bool timed = !log.columns.time.empty();
  const size_t time_column = timed ? require_column(table, log.columns.time, "data.time") : 0;
  std::optional<TimeStyle> style;
  if (timed) style.emplace(table, time_column, table.rows());
  Numbering users, items;
  std::vector<uint32_t> user_of;
  for (size_t row = 0; row < table.rows(); ++row) {
    const std::string_view user = table.cell(row, user_column);
    const std::string_view item = table.cell(row, item_column);
    if (is_missing(user) || is_missing(item)) {
      ++log.left_out;
      continue;
    }
    auto time = static_cast<int64_t>(row);
    if (timed) {
      const std::string_view cell = table.cell(row, time_column);
      const auto read = read_time(*style, cell);
      if (!read) {
        throw FormatError(fmt::format("{}: '{}' in column {} is no time", table.where(row),
                                      cell.substr(0, 40), log.columns.time),
                          "mend the row, or name another column with --set data.time=COLUMN");
      }
      time = *read;
    }
    user_of.push_back(users.number(user, log.users));
    log.item_of.push_back(items.number(item, log.items));
    log.time_of.push_back(time);
  }
  if (user_of.empty())
    throw Error("no_rows", "the log has no row with a user and an item", "check the columns");
  if (log.left_out > 0)
    reporter.note(fmt::format("{} rows lack a user or an item: left out", log.left_out));
  sort_by_user_and_time(log, user_of);
  return log;
}

std::vector<std::string> leave_out_rare(Interactions& log, uint64_t least, Reporter& reporter) {
  std::vector<std::string> rare;
  if (least <= 1) return rare;
  std::vector<uint64_t> counts(log.items.size());
  for (const uint32_t item : log.item_of) ++counts[item];
  Interactions kept;
  std::vector<uint32_t> number(log.items.size());
  for (size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] < least) {
      rare.push_back(std::move(log.items[i]));
      continue;
    }
    number[i] = static_cast<uint32_t>(kept.items.size());
    kept.items.push_back(std::move(log.items[i]));
  }
  kept.begins.push_back(0);
  for (size_t user = 0; user < log.users.size(); ++user) {
    for (uint64_t i = log.begins[user]; i < log.begins[user + 1]; ++i) {
      if (counts[log.item_of[i]] < least) continue;
      kept.item_of.push_back(number[log.item_of[i]]);
      kept.time_of.push_back(log.time_of[i]);
    }
    if (kept.item_of.size() == kept.begins.back()) continue;
    kept.begins.push_back(kept.item_of.size());
    kept.users.push_back(std::move(log.users[user]));
  }
  if (kept.items.empty()) {
    throw Error("rare_items", fmt::format("no item stands {} times in the log", least),
                "lower data.min_count");
  }
  reporter.note(fmt::format(
      "data.min_count = {}: {} rare items with {} interactions are left out, and {} users", least,
      log.items.size() - kept.items.size(), log.item_of.size() - kept.item_of.size(),
      log.users.size() - kept.users.size()));
  kept.columns = log.columns;
  kept.left_out = log.left_out;
  kept.fingerprint = log.fingerprint;
  log = std::move(kept);
  std::sort(rare.begin(), rare.end());
  return rare;
}

void require_learnable(const Interactions& log) {
  if (log.users.size() < 2) {
    throw Error("one_user",
                fmt::format("the log has one user only ('{}', by column {}): nothing can be learnt "
                            "from others",
                            log.users.front().substr(0, 40), log.columns.user),
                "name the column of users with --set data.user=COLUMN");
  }
  if (log.items.size() < 2) {
    throw Error("one_item",
                fmt::format("the log has one item only ('{}', by column {}): there is nothing to "
                            "choose from",
                            log.items.front().substr(0, 40), log.columns.item),
                "name the column of items with --set data.item=COLUMN");
  }
  if (log.items.size() == log.item_of.size()) {
    throw Error("no_repeats",
                fmt::format("each of the {} items (column {}) is taken once only: nothing tells "
                            "which go together",
                            log.items.size(), log.columns.item),
                "name the column of items with --set data.item=COLUMN");
  }
}

}  // namespace quern::data
