#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "quern/base/error.h"
#include "quern/data/check/checking.h"

namespace quern::data {
namespace {

constexpr double kMany = 0.05, kOneUser = 0.01, kTopItems = 0.01, kConcentrated = 0.5;

/// What a log holds, counted.
struct LogFacts {
  std::vector<uint64_t> per_user, per_item;
  size_t repeats = 0;      // of an item that the user took before
  size_t same_moment = 0;  // interactions that share their time with the user's one before
  size_t same_rows = 0;    // user, item and time stood before
  int64_t first = 0, last = 0;
};

LogFacts count(const Interactions& log) {
  LogFacts facts;
  facts.per_user.resize(log.users.size());
  facts.per_item.resize(log.items.size());
  facts.first = log.time_of.front();
  facts.last = facts.first;
  for (size_t user = 0; user < log.users.size(); ++user) {
    const auto items = log.items_of(user);
    const auto times = log.times_of(user);
    facts.per_user[user] = items.size();
    std::unordered_set<uint32_t> seen, at_once;
    for (size_t i = 0; i < items.size(); ++i) {
      const bool tie = i > 0 && times[i] == times[i - 1];
      if (!tie) at_once.clear();
      facts.same_moment += tie ? 1 : 0;
      facts.same_rows += at_once.insert(items[i]).second ? 0 : 1;
      facts.repeats += seen.insert(items[i]).second ? 0 : 1;
      facts.per_item[items[i]] += 1;
      facts.first = std::min(facts.first, times[i]);
      facts.last = std::max(facts.last, times[i]);
    }
  }
  return facts;
}

std::string spread(const char* of, const char* what, std::vector<uint64_t> counts) {
  std::sort(counts.begin(), counts.end());
  return fmt::format("{} {}; {} has {} to {} interactions, half of them up to {}", counts.size(),
                     of, what, counts.front(), counts.back(), counts[counts.size() / 2]);
}

/// Interactions in twenty equal stretches of time.
std::vector<Frequency> over_time(const Interactions& log, const LogFacts& facts) {
  constexpr size_t kStretches = 20;
  // As doubles: numbers of the two ends may lie more than 2^63 apart.
  const auto since = [&](int64_t time) {
    return static_cast<double>(time) - static_cast<double>(facts.first);
  };
  const double width = since(facts.last) / kStretches;
  std::vector<Frequency> out(width > 0 ? kStretches : 1);
  for (size_t i = 0; i < out.size(); ++i)
    out[i].label = i + 1 == out.size()
                       ? "last"
                       : fmt::format("{:.0f} %", 100.0 * static_cast<double>(i) / kStretches);
  for (const int64_t time : log.time_of) {
    const size_t at = width > 0 ? static_cast<size_t>(since(time) / width) : 0;
    out[std::min(at, out.size() - 1)].rows += 1;
  }
  return out;
}

class LogCheck {
 public:
  LogCheck(const Table& table, const LogColumns& said, Reporter& reporter)
      : log_(read_interactions(table, said, reporter)), facts_(count(log_)) {
    check_.kind = "log";
    check_.rows = table.rows();
    for (ColumnFacts& facts : infer_types(table, {})) {
      CheckedColumn column;
      column.facts = std::move(facts);
      describe(column);
      check_.columns.push_back(std::move(column));
    }
  }

  DataCheck run() {
    learnable();
    left_out();
    repeats();
    histories();
    popularity();
    order();
    sort_by_severity(check_.findings);
    return std::move(check_);
  }

 private:
  void found(std::string kind, Severity severity, std::string where, std::string detail) {
    check_.findings.push_back({std::move(kind), severity, std::move(where), std::move(detail)});
  }
  double part(size_t count) const { return 100 * share(count, log_.item_of.size()); }

  void describe(CheckedColumn& column) const {
    const std::string& name = column.facts.name;
    if (name == log_.columns.user) {
      column.summary = spread("users", "one", facts_.per_user);
      column.frequencies = by_powers_of_two(facts_.per_user);
      column.measured = "interactions of a user";
    } else if (name == log_.columns.item) {
      column.summary = spread("items", "one", facts_.per_item);
      column.frequencies = by_powers_of_two(facts_.per_item);
      column.measured = "interactions with an item";
    } else if (name == log_.columns.time) {
      column.summary = "the order of each history";
      column.frequencies = over_time(log_, facts_);
      column.measured = "interactions, from the first moment to the last";
    }
  }

  void learnable() {
    try {
      require_learnable(log_);
    } catch (const Error& error) {
      found(std::string(error.code()), Severity::kSevere, log_.columns.user, error.what());
    }
  }

  void left_out() {
    if (log_.left_out == 0) return;
    const double missing = share(log_.left_out, check_.rows);
    found("missing", missing > kMany ? Severity::kWarning : Severity::kNote, log_.columns.user,
          fmt::format("{} of {} rows lack a user or an item ({:.1f} %): left out", log_.left_out,
                      check_.rows, 100 * missing));
  }

  void repeats() {
    if (facts_.same_rows > 0) {
      found("duplicates",
            part(facts_.same_rows) > 100 * kMany ? Severity::kWarning : Severity::kNote,
            log_.columns.item,
            fmt::format("{} interactions ({:.1f} %) have the user, item and {} of an earlier one",
                        facts_.same_rows, part(facts_.same_rows),
                        log_.columns.time.empty() ? "place" : "time"));
    }
    if (facts_.repeats > facts_.same_rows) {
      found("repeats", Severity::kNote, log_.columns.item,
            fmt::format("{} interactions ({:.1f} %) are with an item that the user took before; "
                        "recommendations leave seen items out unless --include-seen is given",
                        facts_.repeats, part(facts_.repeats)));
    }
  }

  void histories() {
    const auto single = static_cast<size_t>(std::count_if(
        facts_.per_user.begin(), facts_.per_user.end(), [](uint64_t n) { return n < 3; }));
    if (single > 0) {
      const double few = share(single, facts_.per_user.size());
      found("short_histories", few > 0.5 ? Severity::kWarning : Severity::kNote, log_.columns.user,
            fmt::format("{} of {} users ({:.1f} %) have fewer than three interactions: too few to "
                        "learn from, choose by and test on",
                        single, facts_.per_user.size(), 100 * few));
    }
    const auto most = std::max_element(facts_.per_user.begin(), facts_.per_user.end());
    // Where there are few users, one of them has a great share by right.
    if (share(*most, log_.item_of.size()) <
        std::max(kOneUser, 10 / static_cast<double>(facts_.per_user.size())))
      return;
    const auto user = static_cast<size_t>(most - facts_.per_user.begin());
    found("outliers", Severity::kWarning, log_.columns.user,
          fmt::format("user '{}' has {} of {} interactions ({:.1f} %): a shared account, or a "
                      "program?",
                      log_.users[user], *most, log_.item_of.size(), part(*most)));
  }

  void popularity() {
    std::vector<uint64_t> counts = facts_.per_item;
    std::sort(counts.rbegin(), counts.rend());
    const auto single = static_cast<size_t>(std::count(counts.begin(), counts.end(), uint64_t{1}));
    if (single > 0) {
      found("rare_items", Severity::kNote, log_.columns.item,
            fmt::format("{} of {} items are taken once only: nothing tells what they go with",
                        single, counts.size()));
    }
    const size_t top =
        std::max<size_t>(1, static_cast<size_t>(kTopItems * static_cast<double>(counts.size())));
    size_t taken = 0;
    for (size_t i = 0; i < top; ++i) taken += counts[i];
    const bool much = share(taken, log_.item_of.size()) >= kConcentrated;
    found("popularity", much ? Severity::kWarning : Severity::kNote, log_.columns.item,
          fmt::format("the {} commonest items ({:.1f} % of them) hold {:.1f} % of the interactions"
                      "{}",
                      top, 100 * share(top, counts.size()), part(taken),
                      much ? ": recommending them to all is hard to beat" : ""));
  }

  void order() {
    if (log_.columns.time.empty()) {
      found("no_time", Severity::kWarning, log_.columns.user,
            "no column of times: histories are taken in the order of the file");
    } else if (part(facts_.same_moment) > 100 * kMany) {
      found("same_moment", Severity::kNote, log_.columns.time,
            fmt::format("{} interactions ({:.1f} %) share their moment with the user's one before "
                        "(a basket): among them the order of the file counts",
                        facts_.same_moment, part(facts_.same_moment)));
    }
  }

  Interactions log_;
  LogFacts facts_;
  DataCheck check_;
};

}  // namespace

DataCheck check_log(const Table& table, const LogColumns& said, Reporter& reporter) {
  try {
    return LogCheck(table, said, reporter).run();
  } catch (const FormatError& error) {  // of a time: training would refuse the log
    DataCheck check;
    check.kind = "log";
    check.rows = table.rows();
    for (ColumnFacts& facts : infer_types(table, {}))
      check.columns.emplace_back().facts = std::move(facts);
    check.findings.push_back(
        {"unreadable_time", Severity::kSevere, "data.time",
         fmt::format("{} ({}); training refuses the log", error.what(), error.hint())});
    return check;
  }
}

std::optional<LogColumns> log_columns_by_name(const Table& table) {
  try {
    return infer_log_columns(table, {}, silent_reporter());
  } catch (const UsageError&) {
    return std::nullopt;
  }
}

}  // namespace quern::data
