#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quern/base/progress.h"
#include "quern/data/table.h"

namespace quern::data {

/// Said as the column of times: there is none, the order of the file counts.
inline constexpr std::string_view kNoTime = "none";

/// The columns of a log; "" : inferred.
struct LogColumns {
  std::string user, item, time;
};

/// Who took what, in order of time. 12 bytes an interaction, and the names.
struct Interactions {
  std::vector<std::string> users, items;  // names, in the order in which they first appear
  std::vector<uint64_t> begins;           // (users + 1)
  std::vector<uint32_t> item_of;          // (interactions), user by user, each by time
  std::vector<int64_t> time_of;           // (interactions); the row's number where there is no time
  LogColumns columns;                     // as used; time "": order of the file
  size_t left_out = 0;                    // rows that lack user or item
  std::string fingerprint;

  std::span<const uint32_t> items_of(size_t user) const {
    return std::span(item_of).subspan(begins[user], begins[user + 1] - begins[user]);
  }
  std::span<const int64_t> times_of(size_t user) const {
    return std::span(time_of).subspan(begins[user], begins[user + 1] - begins[user]);
  }
};

/// Which columns of a table are user, item and time, each noted with its reason: by name
/// (customer_id, stockcode, 用户, …), time also by content (dates, or seconds, thousandths
/// or millionths of one since 1970; not what names the items, as barcodes do). Throws
/// UsageError: a column that is not there, or none that can be taken.
LogColumns infer_log_columns(const Table& table, const LogColumns& said, Reporter& reporter);

/// Reads a log. Interactions of the same user and time stay in the order of the file. Throws as
/// infer_log_columns, and FormatError naming the line of a time that is none, Error("no_rows").
Interactions read_interactions(const Table& table, const LogColumns& said, Reporter& reporter);

/// Leaves out the items that stand fewer than `least` times in the log, and users left with
/// nothing; notes how many. Returns the items' names, sorted. Throws Error("rare_items") where
/// nothing is left.
std::vector<std::string> leave_out_rare(Interactions& log, uint64_t least, Reporter& reporter);

/// Throws Error("one_user") and Error("no_repeats") for a log that nothing can be learnt from.
void require_learnable(const Interactions& log);

}  // namespace quern::data
