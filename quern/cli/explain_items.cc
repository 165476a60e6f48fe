#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "quern/base/error.h"
#include "quern/cli/explain.h"
#include "quern/cli/history_input.h"
#include "quern/explain/explanation_page.h"
#include "quern/explain/history_explainer.h"

namespace quern::cli {
namespace {

explain::ItemTarget::Scale scale_of(const std::string& name) {
  if (name == "probability") return explain::ItemTarget::Scale::kProbability;
  return name == "rank" ? explain::ItemTarget::Scale::kRank
                        : explain::ItemTarget::Scale::kLogProbability;
}

}  // namespace

int explain_items(Invocation& invocation, const ExplainFlags& flags) {
  if (!flags.input.empty() || flags.user.empty() == flags.history.empty()) {
    throw UsageError("whose_history", "explain recommendations for whom?",
                     "give --user U, or --history a,b,c");
  }
  run::ItemRun run = run::load_item_run(flags.run);
  explain::HistoryQuestion question;
  question.history = named_history(run, flags.user, flags.history);
  question.target = flags.target;
  question.against = flags.against;
  question.top = static_cast<size_t>(flags.top);
  question.scale = scale_of(flags.scale);
  question.estimate = estimate_options(invocation, flags);
  question.audit = flags.audit;
  question.interactions = static_cast<size_t>(flags.interactions);
  run.parameters.use(invocation.gpu.get());
  ThreadPool pool(static_cast<int>(invocation.options.integer("threads")));
  const std::vector<explain::Explanation> list = explain::explain_history(run, pool, question);
  if (list.size() == 1) {
    give_explanation(invocation, flags, list.front());
    return 0;
  }
  nlohmann::ordered_json json{{"items", nlohmann::ordered_json::array()}};
  std::string text;
  for (const explain::Explanation& one : list) {
    json["items"].push_back(explain::to_json(one));
    text += fmt::format("{}{}", text.empty() ? "" : "\n", explain::terminal_text(one, 5));
  }
  give_answer(invocation, flags, std::move(json), text, [&] { return explain::to_html(list); });
  write_explanation_events(invocation, flags, list);
  return 0;
}

}  // namespace quern::cli
