#include <fmt/format.h>

#include "quern/base/error.h"
#include "quern/cli/evaluate.h"
#include "quern/infer/item_ranker.h"
#include "quern/run/item_run.h"
#include "quern/task/item_scores.h"

namespace quern::cli {
namespace {

/// The last item of each user is the test, what the log has before it the history.
task::TestedUsers last_items(const features::Histories& histories) {
  task::TestedUsers tested;
  for (const std::vector<uint32_t>& items : histories.items) {
    if (items.size() < 2) continue;
    tested.add(std::span(items).first(items.size() - 1), items.back());
  }
  if (tested.size() == 0) {
    throw Error("too_short", "no user of the log has two interactions: nothing to score against",
                "give a log in which users have a history and a last item");
  }
  return tested;
}

}  // namespace

int evaluate_items(Invocation& invocation, const EvaluateFlags& flags) {
  run::ItemRun run = run::load_item_run(flags.run);
  const size_t items = run.pipeline.items.size();
  run::require_list_length(flags.k, items);
  const features::Histories histories = run::read_histories(
      data::read_table(flags.paths(), table_options(invocation), *invocation.reporter), run,
      *invocation.reporter);
  const task::TestedUsers tested = last_items(histories);
  ThreadPool pool(static_cast<int>(invocation.options.integer("threads")));
  run.parameters.use(invocation.gpu.get());
  infer::ItemRanker ranker(run.config, run.parameters, run.pipeline.items.counts(),
                           run.pipeline.sides.codes, pool);
  task::RankKeeper keeper("transformer", tested, items, static_cast<uint32_t>(flags.k),
                          *invocation.reporter);
  ranker.rank(tested.histories, [&](size_t, std::span<float> scores) { keeper.take(scores); });
  const auto seed = static_cast<uint64_t>(invocation.options.integer("seed"));
  const task::RecommendScores scores = keeper.scores(seed);
  std::vector<metrics::Score> shown = scores.unseen;
  for (const metrics::Score& score : scores.all)
    shown.push_back({score.name + ".with_repeats", score.interval});
  const std::string protocol = task::describe_protocol(
      fmt::format("each user's last interaction is the test, {} users; all {} items of the run are "
                  "ranked, an item that it does not know is a miss",
                  tested.size(), items),
      tested);
  print_scores(invocation, run.parameters.gpu(), "recommend", tested.size(),
               fmt::format("protocol: {}; 95 % intervals by bootstrap over users", protocol), shown,
               protocol);
  return 0;
}

}  // namespace quern::cli
