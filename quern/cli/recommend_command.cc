#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "quern/base/error.h"
#include "quern/cli/command.h"
#include "quern/cli/command_list.h"
#include "quern/cli/history_input.h"
#include "quern/cli/row_input.h"
#include "quern/data/csv_parser.h"
#include "quern/data/interactions.h"
#include "quern/formats/json.h"
#include "quern/infer/item_ranker.h"
#include "quern/metrics/recommendation.h"
#include "quern/run/item_run.h"

namespace quern::cli {
namespace {

using nlohmann::ordered_json;

struct Flags {
  std::string run, input, history, user, similar;
  std::string output = "-";
  std::optional<int64_t> k;
  bool include_seen = false;
};

struct Recommended {
  std::string item;
  double score = 0;
};

void check(const Flags& flags, size_t items) {
  const int ways = static_cast<int>(!flags.input.empty()) +
                   static_cast<int>(!flags.history.empty()) +
                   static_cast<int>(!flags.user.empty()) + static_cast<int>(!flags.similar.empty());
  if (ways != 1) {
    throw UsageError(
        "whose_history", ways == 0 ? "recommend for whom?" : "more than one history was given",
        "give one of --user U, --history a,b,c, --similar ITEM, or a file of histories");
  }
  if (flags.output != "-" && flags.input.empty()) {
    throw UsageError("bad_value", "--output is for a file of histories",
                     "redirect standard output instead");
  }
  run::list_length(flags.k, items);  // refuses before anything is computed
}

/// Logits to probabilities of the next item, over all items.
void softmax(std::span<float> scores) {
  scores[0] = 0;
  const float most = *std::max_element(scores.begin() + 1, scores.end());
  double sum = 0;
  for (float& score : scores.subspan(1)) {
    score = std::exp(score - most);
    sum += static_cast<double>(score);
  }
  for (float& score : scores.subspan(1))
    score = static_cast<float>(static_cast<double>(score) / sum);
}

std::vector<Recommended> best(const run::ItemRun& run, std::span<const float> scores,
                              const Flags& flags) {
  std::vector<Recommended> out;
  const uint32_t k = run::list_length(flags.k, run.pipeline.items.size());
  for (const uint32_t id : metrics::top_items(scores, k))
    out.push_back({run.pipeline.items.name(id), static_cast<double>(scores[id])});
  return out;
}

/// One list a history. An empty history gets what is taken most.
std::vector<std::vector<Recommended>> recommend(run::ItemRun& run, const Flags& flags,
                                                const std::vector<std::vector<uint32_t>>& histories,
                                                ThreadPool& pool) {
  std::vector<std::vector<Recommended>> lists(histories.size());
  infer::ItemRanker ranker(run.config, run.parameters, run.pipeline.items.counts(),
                           run.pipeline.sides.codes, pool);
  ranker.rank(histories, [&](size_t i, std::span<float> scores) {
    softmax(scores);
    if (!flags.include_seen) {
      for (const uint32_t seen : histories[i])
        scores[seen] = -std::numeric_limits<float>::infinity();
    }
    lists[i] = best(run, scores, flags);
  });
  return lists;
}

ordered_json to_json(const std::vector<Recommended>& list) {
  ordered_json items = ordered_json::array();
  for (const Recommended& r : list) items.push_back({{"item", r.item}, {"score", r.score}});
  return items;
}

void print_list(const Invocation& invocation, const std::vector<Recommended>& list) {
  if (invocation.json) {
    invocation.print(formats::json_text({{"items", to_json(list)}}));
    return;
  }
  std::string text;
  for (const Recommended& r : list) text += fmt::format("{:<24} {:.5f}\n", r.item, r.score);
  invocation.print(text);
}

int recommend_file(Invocation& invocation, const Flags& flags, run::ItemRun& run,
                   ThreadPool& pool) {
  const data::Table table = read_rows(invocation, flags.input);
  const features::Histories log =
      run::histories_of(run::read_log(table, run, *invocation.reporter), run, *invocation.reporter);
  std::vector<std::vector<uint32_t>> histories;
  for (const std::vector<uint32_t>& ids : log.items)
    histories.push_back(features::known_tail(ids, ids.size()));
  const auto empty = std::count_if(histories.begin(), histories.end(),
                                   [](const auto& history) { return history.empty(); });
  if (empty > 0)
    invocation.reporter->note(
        fmt::format("{} users have no known item: they get what is taken most", empty));
  const auto lists = recommend(run, flags, histories, pool);
  const bool json = flags.output.ends_with(".jsonl") || (flags.output == "-" && invocation.json);
  ordered_json users = ordered_json::array();
  std::string text = json ? "" : "user,rank,item,score\n";
  for (size_t i = 0; i < lists.size(); ++i) {
    if (json) {
      users.push_back({{"user", log.users[i]}, {"items", to_json(lists[i])}});
      text += formats::json_text(users.back());
      continue;
    }
    for (size_t rank = 0; rank < lists[i].size(); ++rank) {
      text += fmt::format("{},{},{},{:.6g}\n", data::csv_field(log.users[i]), rank + 1,
                          data::csv_field(lists[i][rank].item), lists[i][rank].score);
    }
  }
  if (!invocation.json || flags.output != "-") write_output(invocation, flags.output, text);
  if (invocation.json) {
    ordered_json report{{"users", log.users.size()}, {"output", flags.output}};
    if (flags.output == "-") report["recommendations"] = std::move(users);
    invocation.print(formats::json_text(report));
  }
  return 0;
}

int run_recommend(Invocation& invocation, const Flags& flags) {
  run::ItemRun run = run::load_item_run(flags.run);
  check(flags, run.pipeline.items.size());
  ThreadPool pool(static_cast<int>(invocation.options.integer("threads")));
  run.parameters.use(invocation.gpu.get());
  if (!flags.input.empty()) return recommend_file(invocation, flags, run, pool);
  if (!flags.similar.empty()) {
    const uint32_t id = run.pipeline.items.require(flags.similar);
    print_list(
        invocation,
        best(run, infer::similar_items(run.config, run.parameters, run.pipeline.sides.codes, id),
             flags));
    return 0;
  }
  const std::vector<uint32_t> history = named_history(run, flags.user, flags.history);
  if (history.empty()) {
    invocation.reporter->note("the user has no item that the run knows: what is taken most");
  }
  print_list(invocation, recommend(run, flags, {history}, pool).front());
  return 0;
}

}  // namespace

Action declare_recommend(Arguments& arguments, Invocation& invocation) {
  auto flags = std::make_shared<Flags>();
  arguments.value("RUN", flags->run, "The run folder that quern train --task recommend wrote")
      .required();
  arguments.value("INPUT", flags->input,
                  "A log of users and items, as in training; - reads CSV from standard input");
  arguments.value("--history", flags->history, "Items taken, oldest first, separated by commas")
      .type_name("ITEMS");
  arguments.value("--user", flags->user, "A user of the training log").type_name("USER");
  arguments.value("--similar", flags->similar, "Items like this one, by the cosine of embeddings")
      .type_name("ITEM");
  arguments.value("-k,--top", flags->k, "How many items (10)").type_name("K");
  arguments.flag("--include-seen", flags->include_seen, "Also items that stand in the history");
  arguments
      .value("-o,--output", flags->output,
             "Where to write the answer to INPUT: .csv or .jsonl; - is standard output")
      .type_name("FILE");
  add_table_flag(arguments, invocation);
  return [flags](Invocation& in) { return run_recommend(in, *flags); };
}

}  // namespace quern::cli
