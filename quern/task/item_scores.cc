#include "quern/task/item_scores.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "quern/features/item_sequences.h"

namespace quern::task {

void TestedUsers::add(std::span<const uint32_t> ids, std::span<const uint32_t> items,
                      size_t place) {
  histories.push_back(features::known_tail(ids.first(place), place));
  test.push_back(ids[place]);
  const auto before = items.first(place);
  new_to_user.push_back(std::find(before.begin(), before.end(), items[place]) == before.end());
}

size_t TestedUsers::new_items() const {
  return static_cast<size_t>(std::count(new_to_user.begin(), new_to_user.end(), true));
}

double RecommendScores::value(std::string_view score) const {
  const double value = metrics::value_of(main(), score);
  return std::isnan(value) ? 0 : value;
}

nlohmann::ordered_json to_json(const RecommendScores& scores) {
  const auto values = [](const std::vector<metrics::Score>& list) {
    nlohmann::ordered_json json = nlohmann::ordered_json::object();
    for (const metrics::Score& score : list) json[score.name] = score.interval.value;
    return json;
  };
  nlohmann::ordered_json json = values(scores.main());
  json["name"] = scores.name;
  json["with_repeats"] = values(scores.all);
  return json;
}

std::string describe_protocol(const std::string& split, size_t items, const TestedUsers& tested) {
  const size_t fresh = tested.new_items();
  return fmt::format(
      "{}; all {} items of the run are ranked, an item that it does not know is a miss; seen items "
      "are left out for the {} users whose test item is new to them ({} took it before: it cannot "
      "be found then; with_repeats ranks everything for all)",
      split, items, fresh, tested.size() - fresh);
}

RankKeeper::RankKeeper(std::string name, const TestedUsers& tested, size_t items, uint32_t k,
                       Reporter& reporter)
    : name_(std::move(name)),
      tested_(tested),
      items_(items),
      k_(k),
      reporter_(reporter),
      estimate_(static_cast<double>(tested.size())) {}

size_t RankKeeper::bytes(size_t users, size_t items, uint32_t k) {
  const size_t list = sizeof(std::vector<uint32_t>) + 16 + k * sizeof(uint32_t);
  return 2 * users * (2 * (list + sizeof(uint32_t))) + (items + 1) * sizeof(float) + items / 8;
}

void RankKeeper::rank(std::span<const float> scores, uint32_t item, Lists& lists) const {
  lists.ranks.push_back(metrics::rank_of(scores, item));
  lists.top.push_back(metrics::top_items(scores, k_));
}

void RankKeeper::take(std::span<float> scores) {
  constexpr size_t kTold = 64;  // users from one line to the next
  const size_t user = taken_++;
  if (user > 0 && user % kTold == 0) {
    reporter_.progress(
        fmt::format("scoring {}: {} of {} users, {} left", name_, user, tested_.size(),
                    format_duration(estimate_.seconds_left(static_cast<double>(user)))));
  }
  const uint32_t item = tested_.test[user];
  rank(scores, item, all_);
  if (!tested_.new_to_user[user]) return;
  for (const uint32_t seen : tested_.histories[user])
    scores[seen] = -std::numeric_limits<float>::infinity();
  rank(scores, item, unseen_);
}

std::vector<metrics::Score> RankKeeper::score(const Lists& lists, uint64_t seed) const {
  std::vector<metrics::Score> scores = metrics::score_ranks(lists.ranks, k_, seed);
  if (!scores.empty()) scores.push_back(metrics::coverage(lists.top, items_, k_, seed));
  return scores;
}

RecommendScores RankKeeper::scores(uint64_t seed) const {
  return {name_, score(unseen_, seed), score(all_, seed), unseen_.ranks, all_.ranks};
}

RecommendScores score_method(
    std::string name, const TestedUsers& tested, size_t items, uint32_t k, uint64_t seed,
    const std::function<void(size_t user, std::span<float> scores)>& method, Reporter& reporter) {
  RankKeeper keeper(std::move(name), tested, items, k, reporter);
  std::vector<float> scores(items + 1);
  for (size_t user = 0; user < tested.size(); ++user) {
    method(user, scores);
    keeper.take(scores);
  }
  return keeper.scores(seed);
}

}  // namespace quern::task
