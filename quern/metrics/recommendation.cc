#include "quern/metrics/recommendation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <unordered_map>
#include <utility>

namespace quern::metrics {
namespace {

template <typename F>
Score score_of(std::string name, std::span<const uint32_t> ranks, uint64_t seed, F gain) {
  std::vector<double> gains(ranks.size());
  std::transform(ranks.begin(), ranks.end(), gains.begin(), gain);
  const auto mean = [&](std::span<const float> counts) {
    double sum = 0, rows = 0;
    for (size_t i = 0; i < gains.size(); ++i) {
      sum += gains[i] * static_cast<double>(counts[i]);
      rows += static_cast<double>(counts[i]);
    }
    return sum / rows;
  };
  return {std::move(name), bootstrap(ranks.size(), mean, seed)};
}

}  // namespace

uint32_t rank_of(std::span<const float> scores, uint32_t item) {
  constexpr float kOut = -std::numeric_limits<float>::infinity();
  if (item == 0 || item >= scores.size() || !(scores[item] > kOut)) return 0;
  uint32_t above = 0, equal = 0;
  for (size_t i = 1; i < scores.size(); ++i) {
    if (scores[i] > scores[item]) ++above;
    if (scores[i] == scores[item]) ++equal;
  }
  return above + (equal + 2) / 2;
}

std::vector<Score> score_ranks(std::span<const uint32_t> ranks, uint32_t k, uint64_t seed) {
  if (ranks.empty()) return {};
  const auto within = [k](uint32_t rank) { return rank > 0 && rank <= k; };
  return {score_of(fmt::format("ndcg@{}", k), ranks, seed,
                   [&](uint32_t rank) {
                     return within(rank) ? 1 / std::log2(static_cast<double>(rank) + 1) : 0.0;
                   }),
          score_of(fmt::format("hr@{}", k), ranks, seed,
                   [&](uint32_t rank) { return within(rank) ? 1.0 : 0.0; }),
          score_of("mrr", ranks, seed,
                   [](uint32_t rank) { return rank > 0 ? 1 / static_cast<double>(rank) : 0.0; })};
}

std::vector<uint32_t> top_items(std::span<const float> scores, size_t k) {
  const auto better = [&](uint32_t a, uint32_t b) {
    return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
  };
  // A heap with the worst in front: lists of many users are kept, so none may hold every item.
  std::vector<uint32_t> best;
  best.reserve(std::min(k, scores.size()));
  for (uint32_t i = 1; i < scores.size(); ++i) {
    if (!std::isfinite(scores[i])) continue;
    if (best.size() == k) {
      if (k == 0 || !better(i, best.front())) continue;
      std::pop_heap(best.begin(), best.end(), better);
      best.pop_back();
    }
    best.push_back(i);
    std::push_heap(best.begin(), best.end(), better);
  }
  std::sort_heap(best.begin(), best.end(), better);
  return best;
}

Score coverage(const std::vector<std::vector<uint32_t>>& lists, size_t items, uint32_t k,
               uint64_t seed) {
  std::vector<bool> listed(items + 1);
  const auto share = [&](std::span<const float> counts) {
    std::fill(listed.begin(), listed.end(), false);
    for (size_t user = 0; user < lists.size(); ++user) {
      if (counts[user] == 0) continue;
      for (const uint32_t item : lists[user]) listed[item] = true;
    }
    return static_cast<double>(std::count(listed.begin(), listed.end(), true)) /
           static_cast<double>(items);
  };
  return {fmt::format("coverage@{}", k), centred(bootstrap(lists.size(), share, seed))};
}

void score_own_items(std::span<const uint32_t> history, std::span<const uint64_t> taken,
                     std::span<float> scores) {
  // Below one for what others take, from one on for the user's own: times, and how late.
  const auto most =
      static_cast<float>(std::accumulate(taken.begin(), taken.end(), uint64_t{0},
                                         [](uint64_t a, uint64_t b) { return std::max(a, b); }));
  scores[0] = 0;
  for (size_t id = 1; id < scores.size(); ++id)
    scores[id] = static_cast<float>(taken[id - 1]) / (most + 1);
  std::unordered_map<uint32_t, std::pair<size_t, size_t>> own;  // times, and the last place
  for (size_t i = 0; i < history.size(); ++i) {
    auto& [times, last] = own[history[i]];
    ++times;
    last = i;
  }
  for (const auto& [id, of] : own) {
    scores[id] = static_cast<float>(of.first) +
                 static_cast<float>(of.second) / static_cast<float>(history.size());
  }
}

std::vector<uint32_t> different_items(std::span<const uint32_t> history, size_t most) {
  std::vector<uint32_t> items(
      history.end() - static_cast<std::ptrdiff_t>(std::min(history.size(), most)), history.end());
  std::sort(items.begin(), items.end());
  items.erase(std::unique(items.begin(), items.end()), items.end());
  return items;
}

namespace {

constexpr size_t kList = sizeof(std::vector<uint32_t>) + 16;  // and what allocation adds to it

size_t most_taken(std::span<const uint32_t> history) {
  return std::min(history.size(), kMostTaken);
}

}  // namespace

size_t most_bytes_taken(std::span<const std::span<const uint32_t>> histories) {
  size_t bytes = 2 * histories.size() * kList;  // the outer vector doubles
  for (const auto history : histories) bytes += most_taken(history) * sizeof(uint32_t);
  return bytes;
}

size_t ItemNeighbours::most_bytes(std::span<const std::span<const uint32_t>> histories,
                                  uint32_t items, size_t neighbours) {
  std::vector<uint64_t> together(items + 1);  // with how many others each item is taken, at most
  size_t takers = 0;
  for (const auto history : histories) {
    const size_t count = most_taken(history);
    takers += count;
    for (const uint32_t item : history.last(count)) together[item] += count - 1;
  }
  size_t near = 0;
  for (const uint64_t others : together)
    near += std::min<size_t>(neighbours, static_cast<size_t>(others));
  const size_t an_item = 2 * kList + sizeof(Near) + sizeof(float) + 2 * sizeof(uint32_t);
  return most_bytes_taken(histories) + (items + 1) * an_item + near * sizeof(Near) +
         2 * takers * sizeof(uint32_t);
}

ItemNeighbours::ItemNeighbours(std::span<const std::span<const uint32_t>> histories, uint32_t items,
                               size_t neighbours)
    : near_(items + 1) {
  std::vector<std::vector<uint32_t>> taken;
  std::vector<std::vector<uint32_t>> takers(items + 1);
  for (const auto history : histories) {
    taken.push_back(different_items(history));
    for (const uint32_t item : taken.back())
      takers[item].push_back(static_cast<uint32_t>(taken.size() - 1));
  }
  std::vector<float> together(items + 1);
  std::vector<uint32_t> touched;
  std::vector<Near> found;
  for (uint32_t item = 1; item <= items; ++item) {
    touched.clear();
    for (const uint32_t user : takers[item]) {
      for (const uint32_t other : taken[user]) {
        if (together[other]++ == 0) touched.push_back(other);
      }
    }
    found.clear();
    for (const uint32_t other : touched) {
      const auto both =
          static_cast<float>(takers[item].size()) * static_cast<float>(takers[other].size());
      if (other != item) found.push_back({other, together[other] / std::sqrt(both)});
      together[other] = 0;
    }
    const auto keep =
        found.begin() + static_cast<std::ptrdiff_t>(std::min(neighbours, found.size()));
    std::partial_sort(found.begin(), keep, found.end(), [](const Near& a, const Near& b) {
      return a.similarity != b.similarity ? a.similarity > b.similarity : a.item < b.item;
    });
    near_[item].assign(found.begin(), keep);
  }
}

void ItemNeighbours::score(std::span<const uint32_t> history, std::span<float> scores) const {
  std::fill(scores.begin(), scores.end(), 0.0F);
  for (const uint32_t item : different_items(history, history.size())) {
    for (const Near& near : near_[item]) scores[near.item] += near.similarity;
  }
}

}  // namespace quern::metrics
