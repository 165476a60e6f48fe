#include "quern/features/item_sequences.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "quern/base/error.h"
#include "quern/base/strings.h"
#include "quern/formats/json.h"

namespace quern::features {

ItemVocabulary::ItemVocabulary(std::vector<std::string> names, std::vector<uint64_t> counts)
    : names_(std::move(names)), counts_(std::move(counts)) {
  if (names_.size() != counts_.size())
    throw FormatError("items and their counts differ in number", "restore the run folder");
  for (size_t i = 0; i < names_.size(); ++i) {
    if (!ids_.emplace(names_[i], static_cast<uint32_t>(i + 1)).second)
      throw FormatError(fmt::format("item '{}' stands twice", names_[i]), "restore the run folder");
  }
}

uint32_t ItemVocabulary::find(std::string_view name) const {
  const auto found = ids_.find(name);
  return found == ids_.end() ? 0 : found->second;
}

uint32_t ItemVocabulary::find_or_add(std::string_view name) {
  if (const uint32_t id = find(name); id != 0) return id;
  names_.emplace_back(name);
  counts_.push_back(0);
  const auto id = static_cast<uint32_t>(names_.size());
  ids_.emplace(names_.back(), id);
  return id;
}

uint32_t ItemVocabulary::require(std::string_view name) const {
  const uint32_t id = find(name);
  if (id != 0) return id;
  const auto near = nearest(name, names_);
  throw UsageError("unknown_item",
                   fmt::format("item '{}' is not one of the {} that the run knows",
                               name.substr(0, 60), names_.size()),
                   near ? fmt::format("did you mean '{}'?", *near)
                        : fmt::format("items look like '{}'", names_.front()));
}

int64_t Histories::find(std::string_view user) const {
  const auto found = std::find(users.begin(), users.end(), user);
  return found == users.end() ? -1 : found - users.begin();
}

std::string to_json_lines(const Histories& histories) {
  std::string out;
  for (size_t i = 0; i < histories.users.size(); ++i) {
    const nlohmann::ordered_json line{{"user", histories.users[i]}, {"items", histories.items[i]}};
    out += formats::json_text(line);
  }
  return out;
}

Histories histories_from_json_lines(std::string_view text, std::string_view where, size_t items) {
  Histories histories;
  size_t number = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    if (trim(line).empty()) continue;
    const std::string place = fmt::format("{}, line {}", where, number);
    const nlohmann::json json = formats::parse_json(line, place);
    try {
      histories.users.push_back(json.at("user").get<std::string>());
      std::vector<uint32_t>& ids = histories.items.emplace_back();
      for (const nlohmann::json& id : json.at("items")) {
        if (!id.is_number_unsigned() || id.get<uint64_t>() > items || id.get<uint64_t>() == 0)
          throw FormatError(fmt::format("{}: an id that no item has", place),
                            "restore it from a copy of the run folder");
        ids.push_back(id.get<uint32_t>());
      }
    } catch (const nlohmann::json::exception&) {
      throw FormatError(fmt::format("{}: not a history of Quern's", place),
                        "restore it from a copy of the run folder");
    }
  }
  return histories;
}

HistorySplit split_histories(const data::Interactions& log, bool by_time, double share) {
  HistorySplit split;
  split.parts.resize(log.users.size());
  int64_t moment = 0;
  if (by_time) {
    std::vector<int64_t> times = log.time_of;
    const auto place = static_cast<std::ptrdiff_t>((1 - share) * static_cast<double>(times.size()));
    std::nth_element(times.begin(), times.begin() + place, times.end());
    moment = times[static_cast<size_t>(place)];
  }
  for (size_t user = 0; user < log.users.size(); ++user) {
    const auto times = log.times_of(user);
    const auto count = static_cast<int64_t>(times.size());
    HistorySplit::Part& part = split.parts[user];
    // The first item after the moment, or the last.
    const int64_t test =
        by_time ? std::lower_bound(times.begin(), times.end(), moment) - times.begin() : count - 1;
    if (by_time && (test == count || test == 0)) {
      part.train_end = test;
    } else if (test < 2) {
      part.train_end = by_time ? test : count;
    } else {
      part = {test - 1, test - 1, test};
      ++split.tested;
    }
  }
  if (split.tested == 0) {
    throw Error("too_short", "no user has the three items that training, validation and test need",
                "give a longer log, or check data.user and data.time");
  }
  split.protocol = fmt::format(
      "{}; {} users tested",
      by_time ? fmt::format("data.split = time: the last {:.0f} % of all interactions are held "
                            "out, a user's first item of them is the test, the one before it "
                            "chooses the best step",
                            100 * share)
              : "each user's last item is the test, the one before it chooses the best step",
      split.tested);
  return split;
}

ItemVocabulary make_vocabulary(const data::Interactions& log, const HistorySplit& split) {
  std::vector<uint64_t> counts(log.items.size(), 0);
  for (size_t user = 0; user < log.users.size(); ++user) {
    const auto items = log.items_of(user);
    for (const uint32_t item : items.first(static_cast<size_t>(split.parts[user].train_end)))
      ++counts[item];
  }
  std::vector<std::string> names;
  std::vector<uint64_t> kept;
  for (size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] == 0) continue;
    names.push_back(log.items[i]);
    kept.push_back(counts[i]);
  }
  return {std::move(names), std::move(kept)};
}

std::vector<std::vector<uint32_t>> ids_of(const data::Interactions& log,
                                          const ItemVocabulary& vocabulary) {
  std::vector<uint32_t> id_of(log.items.size());
  for (size_t i = 0; i < log.items.size(); ++i) id_of[i] = vocabulary.find(log.items[i]);
  std::vector<std::vector<uint32_t>> out(log.users.size());
  for (size_t user = 0; user < log.users.size(); ++user)
    for (const uint32_t item : log.items_of(user)) out[user].push_back(id_of[item]);
  return out;
}

std::vector<uint32_t> known_tail(std::span<const uint32_t> ids, size_t length) {
  std::vector<uint32_t> tail;
  for (size_t i = ids.size(); i > 0 && tail.size() < length; --i)
    if (ids[i - 1] != 0) tail.push_back(ids[i - 1]);
  std::reverse(tail.begin(), tail.end());
  return tail;
}

}  // namespace quern::features
