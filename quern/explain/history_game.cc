#include "quern/explain/history_game.h"

#include <algorithm>
#include <cmath>

#include "quern/base/error.h"

namespace quern::explain {
namespace {

double log_probability(std::span<const float> scores, uint32_t item) {
  const auto known = scores.subspan(1);
  const auto most = static_cast<double>(*std::ranges::max_element(known));
  double sum = 0;
  for (const float score : known) sum += std::exp(static_cast<double>(score) - most);
  return static_cast<double>(scores[item]) - most - std::log(sum);
}

/// From 1, equal scores before it.
double rank_of(std::span<const float> scores, uint32_t item) {
  double rank = 1;
  for (uint32_t other = 1; other < scores.size(); ++other) {
    const bool before =
        scores[other] > scores[item] || (scores[other] == scores[item] && other < item);
    rank += before ? 1 : 0;
  }
  return rank;
}

}  // namespace

HistoryGame::HistoryGame(const run::ItemRun& run, infer::ItemRanker& ranker,
                         std::vector<uint32_t> history, ItemTarget target)
    : ranker_(ranker), history_(std::move(history)), target_(target) {
  if (history_.empty()) {
    throw UsageError("empty_history", "the history holds no item that the run knows",
                     "an empty history gets what is taken most: there is nothing to explain");
  }
  const auto context = static_cast<size_t>(run.config.context);
  first_ = history_.size() > context ? history_.size() - context : 0;
}

double HistoryGame::value_of(std::span<const float> scores) const {
  const auto one = [&](uint32_t item) {
    switch (target_.scale) {
      case ItemTarget::Scale::kProbability:
        return std::exp(log_probability(scores, item));
      case ItemTarget::Scale::kRank:
        return rank_of(scores, item);
      default:
        return log_probability(scores, item);
    }
  };
  return one(target_.item) - (target_.against != 0 ? one(target_.against) : 0.0);
}

void HistoryGame::evaluate(const Coalitions& coalitions, std::span<double> values) {
  if (coalitions.empty()) return;
  std::vector<std::vector<uint32_t>> asked(coalitions.count());
  for (size_t i = 0; i < coalitions.count(); ++i) {
    for (size_t player = 0; player < players(); ++player)
      if (coalitions[i][player] != 0) asked[i].push_back(history_[first_ + player]);
  }
  // Whole batches only, so that every coalition goes through the same plan.
  const auto batch = static_cast<size_t>(infer::ItemRanker::kBatch);
  asked.resize((asked.size() + batch - 1) / batch * batch);
  ranker_.rank(asked, [&](size_t i, std::span<float> scores) {
    if (i < values.size()) values[i] = value_of(scores);
  });
  answered_ += values.size();
}

}  // namespace quern::explain
