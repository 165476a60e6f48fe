#include "quern/explain/history_explainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <limits>

#include "quern/base/error.h"
#include "quern/kernels/cuda/device_name.h"
#include "quern/metrics/recommendation.h"
#include "quern/model/decoder.h"

namespace quern::explain {
namespace {

/// The best items that the history does not hold.
std::vector<uint32_t> best_items(infer::ItemRanker& ranker, const HistoryQuestion& question) {
  std::vector<uint32_t> best;
  if (question.history.empty()) return best;
  const std::vector<std::vector<uint32_t>> asked = {question.history};
  ranker.rank(asked, [&](size_t, std::span<float> scores) {
    for (const uint32_t seen : question.history)
      scores[seen] = -std::numeric_limits<float>::infinity();
    best = metrics::top_items(scores, question.top);
  });
  return best;
}

std::string unit_of(ItemTarget::Scale scale) {
  switch (scale) {
    case ItemTarget::Scale::kProbability:
      return "probability";
    case ItemTarget::Scale::kRank:
      return "ranks";
    default:
      return "nats";
  }
}

std::string quantity_of(ItemTarget::Scale scale) {
  switch (scale) {
    case ItemTarget::Scale::kProbability:
      return "probability";
    case ItemTarget::Scale::kRank:
      return "rank";
    default:
      return "log-probability";
  }
}

Explanation explain_item(const run::ItemRun& run, infer::ItemRanker& ranker, ThreadPool& pool,
                         const HistoryQuestion& question, ItemTarget target) {
  const auto begin = std::chrono::steady_clock::now();
  HistoryGame game(run, ranker, question.history, target);
  Explanation out;
  out.run = run.folder.string();
  out.device = kernels::cuda::device_name(run.parameters.gpu());
  out.task = "recommend";
  out.input = fmt::format("a history of {} items", question.history.size());
  out.answer = run.pipeline.items.name(target.item);
  out.unit = unit_of(target.scale);
  out.target = fmt::format("{} of {}", quantity_of(target.scale), out.answer);
  if (target.against != 0)
    out.target += fmt::format(" less that of {}", run.pipeline.items.name(target.against));
  if (target.scale == ItemTarget::Scale::kRank) out.target += " (1 is the top)";
  out.mask_policy =
      "A hidden item is left out of the history; with all hidden, items stand by how often they "
      "are taken.";
  for (size_t i = 0; i < question.history.size(); ++i) {
    const int player = i < game.first() ? -1 : static_cast<int>(i - game.first());
    out.parts.push_back({"item", run.pipeline.items.name(question.history[i]),
                         fmt::format("{} of {}", i + 1, question.history.size()), player});
  }
  GroupedGame grouped(
      game, group_players(out.parts, game.players(), question.estimate.method == Method::kLime));
  out.attribution = estimate(grouped, question.estimate);
  add_interactions(grouped, question.estimate, question.interactions, out);
  if (question.audit) {
    graph::ParameterStore random =
        untrained(run.config, run.parameters.gpu(), question.estimate.seed);
    infer::ItemRanker other_ranker(run.config, random, run.pipeline.items.counts(),
                                   run.pipeline.sides.codes, pool);
    HistoryGame other(run, other_ranker, question.history, target);
    GroupedGame other_grouped(other, grouped.group_of());
    out.audit = audit(grouped, out.attribution, estimate(other_grouped, question.estimate));
  }
  out.rows_answered = game.answered();
  out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return out;
}

}  // namespace

std::vector<Explanation> explain_history(run::ItemRun& run, ThreadPool& pool,
                                         const HistoryQuestion& question) {
  infer::ItemRanker ranker(run.config, run.parameters, run.pipeline.items.counts(),
                           run.pipeline.sides.codes, pool);
  ItemTarget target;
  target.scale = question.scale;
  if (!question.against.empty()) target.against = run.pipeline.items.require(question.against);
  std::vector<uint32_t> items;
  if (question.target.empty()) {
    items = best_items(ranker, question);
    if (items.empty()) items.push_back(1);  // the game refuses an empty history
  } else {
    items.push_back(run.pipeline.items.require(question.target));
  }
  std::vector<Explanation> out;
  for (const uint32_t item : items) {
    target.item = item;
    out.push_back(explain_item(run, ranker, pool, question, target));
  }
  return out;
}

}  // namespace quern::explain
