#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quern/base/progress.h"
#include "quern/metrics/recommendation.h"

namespace quern::task {

/// Users with one held-out item each.
struct TestedUsers {
  std::vector<std::vector<uint32_t>> histories;  // known items taken before, oldest first
  std::vector<uint32_t> test;                    // then taken; 0: training never saw it
  std::vector<bool> new_to_user;                 // the item stands not in the history

  /// The item at `place` of a user's history is held out. `ids`: its items as training knows them,
  /// 0: not at all; `items`: as the log numbers them, so that two unknown ones differ.
  void add(std::span<const uint32_t> ids, std::span<const uint32_t> items, size_t place);
  size_t size() const { return test.size(); }
  size_t new_items() const;
};

/// Scores of one method under both protocols, on the same users.
struct RecommendScores {
  std::string name;
  std::vector<metrics::Score> unseen;  // seen items left out; users whose test item is new to them
  std::vector<metrics::Score> all;     // every item ranked; all tested users
  std::vector<uint32_t> unseen_ranks, all_ranks;  // of the test items; 0: not found

  /// By the first protocol, where any user's test item is new.
  const std::vector<metrics::Score>& main() const { return unseen.empty() ? all : unseen; }
  /// 0: no score of that name.
  double value(std::string_view score) const;
};
/// Values by name, those of the second protocol under "with_repeats".
nlohmann::ordered_json to_json(const RecommendScores& scores);

/// How users were scored, for people: "…; all 60 items of the run are ranked, … seen items are left
/// out for the 12 users whose …".
std::string describe_protocol(const std::string& split, size_t items, const TestedUsers& tested);

/// Ranks every item for each user in turn, with and without what the user has seen.
class RankKeeper {
 public:
  /// `name`: of what scores them. `items` can be recommended; lists have k. `reporter` is told how
  /// far it is. Users and reporter must outlive it.
  RankKeeper(std::string name, const TestedUsers& tested, size_t items, uint32_t k,
             Reporter& reporter);
  /// Bytes that scoring so many users takes, with the scores of one.
  static size_t bytes(size_t users, size_t items, uint32_t k);
  /// Takes the scores (items + 1) of the next user; writes over them.
  void take(std::span<float> scores);
  /// hr@k, ndcg@k, mrr, coverage@k, each with its interval.
  RecommendScores scores(uint64_t seed) const;

 private:
  struct Lists {
    std::vector<uint32_t> ranks;
    std::vector<std::vector<uint32_t>> top;
  };
  void rank(std::span<const float> scores, uint32_t item, Lists& lists) const;
  std::vector<metrics::Score> score(const Lists& lists, uint64_t seed) const;

  std::string name_;
  const TestedUsers& tested_;
  size_t items_;
  uint32_t k_;
  size_t taken_ = 0;
  Lists all_, unseen_;
  Reporter& reporter_;
  Estimate estimate_;
};

/// The same of a method that fills the scores (items + 1) of the i-th user.
RecommendScores score_method(
    std::string name, const TestedUsers& tested, size_t items, uint32_t k, uint64_t seed,
    const std::function<void(size_t user, std::span<float> scores)>& method, Reporter& reporter);

}  // namespace quern::task
