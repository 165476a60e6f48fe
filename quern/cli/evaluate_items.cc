#include <fmt/format.h>

#include "quern/base/error.h"
#include "quern/cli/evaluate.h"
#include "quern/infer/item_ranker.h"
#include "quern/run/item_run.h"
#include "quern/task/item_scores.h"

namespace quern::cli {
namespace {

/// The last item of each user is the test, what the log has before it the history.
features::HistorySplit last_items(const data::Interactions& log) {
  features::HistorySplit split;
  for (size_t user = 0; user < log.users.size(); ++user) {
    const auto count = static_cast<int64_t>(log.items_of(user).size());
    split.parts.push_back({0, -1, count < 2 ? -1 : count - 1});
    split.tested += static_cast<size_t>(count >= 2);
  }
  if (split.tested == 0) {
    throw Error("too_short", "no user of the log has two interactions: nothing to score against",
                "give a log in which users have a history and a last item");
  }
  split.protocol = fmt::format("each user's last interaction is the test, {} users", split.tested);
  return split;
}

/// What training held out of the log that the run learned from: it has seen the rest.
features::HistorySplit held_out(data::Interactions& log, const run::ItemRun& run,
                                Reporter& reporter) {
  const run::Options options = run::options_of(run.folder);
  data::leave_out_rare(log, static_cast<uint64_t>(options.integer("data.min_count")), reporter);
  features::HistorySplit split = run::split_log(log, options);
  split.protocol =
      "the run learned from this log, so that what it held out is the test: " + split.protocol;
  return split;
}

task::TestedUsers tested_users(const data::Interactions& log, const features::HistorySplit& split,
                               const features::Histories& histories) {
  task::TestedUsers tested;
  for (size_t user = 0; user < log.users.size(); ++user) {
    const int64_t place = split.parts[user].test;
    if (place >= 0)
      tested.add(histories.items[user], log.items_of(user), static_cast<size_t>(place));
  }
  return tested;
}

}  // namespace

int evaluate_items(Invocation& invocation, const EvaluateFlags& flags) {
  run::ItemRun run = run::load_item_run(flags.run);
  const size_t items = run.pipeline.items.size();
  const uint32_t k = run::list_length(flags.k, items);
  Reporter& reporter = *invocation.reporter;
  data::Interactions log = run::read_log(
      data::read_table(flags.paths(), table_options(invocation), reporter), run, reporter);
  const bool own = log.fingerprint == run.pipeline.record.data_fingerprint;
  const features::HistorySplit split = own ? held_out(log, run, reporter) : last_items(log);
  const task::TestedUsers tested = tested_users(log, split, run::histories_of(log, run, reporter));
  ThreadPool pool(static_cast<int>(invocation.options.integer("threads")));
  run.parameters.use(invocation.gpu.get());
  infer::ItemRanker ranker(run.config, run.parameters, run.pipeline.items.counts(),
                           run.pipeline.sides.codes, pool);
  task::RankKeeper keeper("transformer", tested, items, k, reporter);
  ranker.rank(tested.histories, [&](size_t, std::span<float> scores) { keeper.take(scores); });
  const auto seed = static_cast<uint64_t>(invocation.options.integer("seed"));
  const task::RecommendScores scores = keeper.scores(seed);
  std::vector<metrics::Score> shown = scores.unseen;
  for (const metrics::Score& score : scores.all)
    shown.push_back({score.name + ".with_repeats", score.interval});
  const std::string protocol = task::describe_protocol(split.protocol, items, tested);
  print_scores(invocation, run.parameters.gpu(), "recommend", tested.size(),
               fmt::format("protocol: {}; 95 % intervals by bootstrap over users", protocol), shown,
               protocol);
  return 0;
}

}  // namespace quern::cli
