#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quern/data/interactions.h"

namespace quern::features {

/// Items as a model sees them: ids 1 … size(); 0 is padding, and stands for what is not known.
class ItemVocabulary {
 public:
  ItemVocabulary() = default;
  /// Throws FormatError for a name that stands twice.
  ItemVocabulary(std::vector<std::string> names, std::vector<uint64_t> counts);

  size_t size() const { return names_.size(); }
  const std::string& name(uint32_t id) const { return names_.at(id - 1); }
  /// How often the training part has it.
  uint64_t count(uint32_t id) const { return counts_.at(id - 1); }
  const std::vector<std::string>& names() const { return names_; }
  const std::vector<uint64_t>& counts() const { return counts_; }
  /// 0: not known.
  uint32_t find(std::string_view name) const;
  /// An item that is new has a count of 0.
  uint32_t find_or_add(std::string_view name);
  /// Throws UsageError("unknown_item") naming the nearest.
  uint32_t require(std::string_view name) const;

 private:
  std::vector<std::string> names_;
  std::vector<uint64_t> counts_;
  std::map<std::string, uint32_t, std::less<>> ids_;
};

/// What each user took, oldest first, as ids.
struct Histories {
  std::vector<std::string> users;
  std::vector<std::vector<uint32_t>> items;

  /// -1: not there.
  int64_t find(std::string_view user) const;
};
/// One line a user: {"user": "…", "items": [3, 1]}.
std::string to_json_lines(const Histories& histories);
/// Throws FormatError naming the line: no JSON, or an id beyond `items`.
Histories histories_from_json_lines(std::string_view text, std::string_view where, size_t items);

/// What is held out of each user's history: items [0, train_end) are trained on, `validation`
/// chooses the best step, `test` is what is reported; -1: the user has none.
struct HistorySplit {
  struct Part {
    int64_t train_end = 0, validation = -1, test = -1;
  };
  std::vector<Part> parts;  // (users)
  size_t tested = 0;
  std::string protocol;  // for people
};
/// `by_time` false: each user's last item is the test, the one before validation (users of three
/// items or more). True: the moment before which 1 − `share` of all interactions lie divides; of a
/// user, the first item after it is the test and the one before validation. Throws
/// Error("too_short") when no user is left to test on.
HistorySplit split_histories(const data::Interactions& log, bool by_time, double share);

/// The items that the training parts hold, in order of first appearance.
ItemVocabulary make_vocabulary(const data::Interactions& log, const HistorySplit& split);

/// The id of each item of each user (users); 0: an item that the vocabulary does not have.
std::vector<std::vector<uint32_t>> ids_of(const data::Interactions& log,
                                          const ItemVocabulary& vocabulary);

/// The last `length` of the items that are known.
std::vector<uint32_t> known_tail(std::span<const uint32_t> ids, size_t length);

}  // namespace quern::features
