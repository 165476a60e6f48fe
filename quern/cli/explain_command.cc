#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "quern/base/error.h"
#include "quern/cli/command_list.h"
#include "quern/cli/explain.h"
#include "quern/cli/inference_events.h"
#include "quern/explain/explanation_events.h"
#include "quern/explain/explanation_page.h"
#include "quern/formats/json.h"
#include "quern/run/run_folder.h"

namespace quern::cli {
namespace {

void check(const ExplainFlags& flags) {
  const auto refuse = [](std::string_view flag, auto value, const char* rule) {
    throw UsageError("bad_value", fmt::format("{} {} is not possible", flag, value), rule);
  };
  if (flags.row < 1) refuse("--row", flags.row, "rows are counted from 1, without the header");
  if (!(flags.tolerance >= 0)) refuse("--tol", flags.tolerance, "give a number of 0 or more");
  if (flags.max_evaluations < 0)
    refuse("--max-evals", flags.max_evaluations, "give a number of 0 or more");
  if (flags.background_rows < 0)
    refuse("--background-rows", flags.background_rows, "give a number of 1 or more");
  if (flags.patches < 0 || flags.patches > 64)
    refuse("--patches", flags.patches, "give a number from 1 to 64");
  if (flags.patches > 0 && flags.segments > 0) {
    throw UsageError("bad_value", "--patches and --segments each say what a picture's parts are",
                     "leave one of the two out");
  }
  if (flags.top < 1 || flags.top > 100) refuse("--top", flags.top, "give a number from 1 to 100");
  if (flags.reasons < 0) refuse("--reasons", flags.reasons, "give a number of 1 or more");
  if ((flags.reasons > 0) == flags.dictionary.empty()) {
    throw UsageError("bad_value", "--reasons and --dictionary go together",
                     "give both: how many reasons, and the approved ones");
  }
  if (!flags.change.empty() && !flags.counterfactual) {
    throw UsageError("bad_value", "--change is for --counterfactual",
                     "give --counterfactual too, or leave it out");
  }
  if (flags.global && (flags.reasons > 0 || flags.counterfactual || flags.audit ||
                       flags.interactions > 0 || flags.influence > 0)) {
    throw UsageError("bad_value",
                     "--reasons, --counterfactual, --interactions, --influence and --audit are for "
                     "one row",
                     "leave --global out, and name the row with --row");
  }
  if (flags.segments < 0) refuse("--segments", flags.segments, "give a number of 1 or more");
  if (flags.influence < 0) refuse("--influence", flags.influence, "give a number of 1 or more");
  if (!flags.training.empty() && flags.influence == 0) {
    throw UsageError("bad_value", "--training is for --influence",
                     "give --influence N too, or leave it out");
  }
  if (flags.interactions < 0)
    refuse("--interactions", flags.interactions, "give a number of 1 or more");
  if (flags.rows < 1) refuse("--rows", flags.rows, "give a number of 1 or more");
  if (flags.global && flags.row != 1)
    refuse("--row", flags.row, "--global looks at many rows: leave one of the two out");
  if (flags.max_tokens < 1) refuse("--max-tokens", flags.max_tokens, "give a number of 1 or more");
  if (flags.scale != "auto" && flags.scale != "probability" && flags.scale != "log" &&
      flags.scale != "rank")
    refuse("--scale", flags.scale, "give auto, probability, log or rank");
}

/// A flag that another task's runs take is refused, not passed over.
void check_task(const ExplainFlags& flags, std::string_view task) {
  const bool recommends = task == "recommend", generates = task == "generate";
  const auto only = [&](bool given, const char* flag, bool fits, const char* whose) {
    if (given && !fits) {
      throw UsageError(
          "other_task",
          fmt::format("{} is for runs that {}; this one learnt to {}", flag, whose, task),
          "leave it out");
    }
  };
  only(!flags.user.empty(), "--user", recommends, "recommend");
  only(!flags.history.empty(), "--history", recommends, "recommend");
  only(!flags.against.empty(), "--against", recommends, "recommend");
  only(flags.top != 1, "--top", recommends, "recommend");
  only(flags.scale == "rank", "--scale rank", recommends, "recommend");
  only(flags.max_tokens != 1, "--max-tokens", generates, "generate");
  only(!flags.background.empty(), "--background", !recommends && !generates, "read columns");
  only(flags.background_rows != 0, "--background-rows", !recommends && !generates, "read columns");
  only(flags.influence > 0, "--influence", !recommends && !generates, "read rows");
  only(flags.attention, "--attention", !recommends, "read rows or prompts");
  only(flags.global, "--global", !recommends && !generates, "read rows");
  only(flags.reasons > 0, "--reasons", !recommends && !generates, "read columns");
  only(flags.counterfactual, "--counterfactual", !recommends && !generates, "read columns");
  only(flags.row != 1, "--row", !recommends && !generates, "read rows");
}

}  // namespace

explain::EstimateOptions estimate_options(const Invocation& invocation, const ExplainFlags& flags) {
  explain::EstimateOptions options;
  options.method = explain::parse_method(flags.method);
  options.seed = static_cast<uint64_t>(invocation.options.integer("seed"));
  options.tolerance = flags.tolerance;
  options.max_evaluations = static_cast<size_t>(flags.max_evaluations);
  options.reporter = invocation.reporter;
  return options;
}

void give_answer(const Invocation& invocation, const ExplainFlags& flags,
                 nlohmann::ordered_json json, const std::string& text,
                 const std::function<std::string()>& page) {
  if (!flags.out.empty()) {
    write_output(invocation, flags.out,
                 flags.out.ends_with(".json") ? formats::json_text(json, 2) : page());
    json["output"] = flags.out;
  }
  if (invocation.json) {
    invocation.print(formats::json_text(json));
    return;
  }
  invocation.print(text);
  if (!flags.out.empty()) invocation.reporter->note("written: " + flags.out);
}

void write_explanation_events(const Invocation& invocation, const ExplainFlags& flags,
                              std::span<const explain::Explanation> explanations) {
  if (!flags.events) return;
  write_inference_events(flags.run, *invocation.reporter, [&](formats::EventWriter& events) {
    int64_t step = formats::next_step(inference_folder(flags.run), explain::kAttributionText);
    for (const explain::Explanation& explanation : explanations)
      explain::write_events(events, step++, explanation);
  });
}

void write_explanation_events(const Invocation& invocation, const ExplainFlags& flags,
                              const explain::GlobalExplanation& global) {
  if (!flags.events) return;
  write_inference_events(flags.run, *invocation.reporter, [&](formats::EventWriter& events) {
    explain::write_events(
        events, formats::next_step(inference_folder(flags.run), explain::kImportanceText), global);
  });
}

void give_explanation(const Invocation& invocation, const ExplainFlags& flags,
                      const explain::Explanation& explanation) {
  give_answer(invocation, flags, explain::to_json(explanation), explain::terminal_text(explanation),
              [&] { return explain::to_html(explanation); });
  write_explanation_events(invocation, flags, {&explanation, 1});
}

Action declare_explain(Arguments& arguments, Invocation& invocation) {
  auto flags = std::make_shared<ExplainFlags>();
  arguments.value("RUN", flags->run, "The run folder that quern train wrote").required();
  arguments.value("INPUT", flags->input,
                  "A table of rows, or pictures; of a run that generates, the prompt; - reads "
                  "standard input");
  add_table_flag(arguments, invocation);
  arguments.value("--row", flags->row, "Which row, counted from 1 (1)").type_name("N");
  arguments
      .value("--target", flags->target,
             "A class, a continuation, or an item (the one that the model chooses)")
      .type_name("TEXT");
  arguments
      .value("--scale", flags->scale,
             "auto (default), probability, log (log-odds of a class, log-probability of a "
             "continuation or item), or rank (of an item)")
      .type_name("NAME");
  arguments
      .value("--method", flags->method,
             "How contributions are found: auto (default) picks, and says why")
      .type_name("NAME");
  arguments
      .value("--tol", flags->tolerance,
             "Sample until half of every 95 % interval is within this, in units of the answer")
      .type_name("E");
  arguments.value("--max-evals", flags->max_evaluations, "Evaluations at most (by the method)")
      .type_name("N");
  arguments
      .value("--background,--reference", flags->background,
             "Rows that hidden columns take their values from (those kept by training)")
      .type_name("FILE");
  arguments
      .value("--background-rows", flags->background_rows,
             "Take so many of them, evenly spread (all)")
      .type_name("N");
  arguments
      .value("--patches", flags->patches,
             "Patches along a picture's longer side (8; LIME: superpixels)")
      .type_name("N");
  arguments
      .value("--reasons", flags->reasons,
             "Also at most N principal reasons, in the words of --dictionary")
      .type_name("N");
  arguments
      .value("--dictionary", flags->dictionary,
             "Approved reasons: a table of column, code, text and direction (high, low, any)")
      .type_name("FILE");
  arguments.flag("--counterfactual", flags->counterfactual,
                 "Also the smallest change that changes the decision");
  arguments
      .value("--change", flags->change,
             "Columns that --counterfactual may change, separated by commas (all)")
      .type_name("COLUMNS");
  arguments.flag("--global", flags->global, "What matters over the whole of INPUT");
  arguments.value("--rows", flags->rows, "Rows that --global explains, evenly spread (100)")
      .type_name("N");
  arguments
      .value("--max-tokens", flags->max_tokens,
             "Explain the likeliest continuation of so many tokens (1)")
      .type_name("N");
  arguments.value("--user", flags->user, "A user of the training log").type_name("USER");
  arguments.value("--history", flags->history, "Items taken, oldest first, separated by commas")
      .type_name("ITEMS");
  arguments.value("--against", flags->against, "Why the item stands above this one")
      .type_name("ITEM");
  arguments.value("-k,--top", flags->top, "Explain so many of the best items (1)").type_name("K");
  arguments
      .value("--segments", flags->segments,
             "About N superpixels of like colour in place of patches")
      .type_name("N");
  arguments
      .value("--interactions", flags->interactions,
             "Also the N pairs of parts that give most together beyond what each gives alone")
      .type_name("N");
  arguments
      .value("--influence", flags->influence,
             "Also the N training rows that raised the answer most, and the N that lowered it")
      .type_name("N");
  arguments
      .value("--training", flags->training,
             "The data that the run learned from, where it has moved (--influence)")
      .type_name("FILE");
  arguments.flag("--attention", flags->attention,
                 "Also attention rollout: where attention flows from (no attribution)");
  arguments.flag(
      "--audit", flags->audit,
      "Also deletion and insertion against random orders, and the same model with random "
      "weights");
  arguments.value("-o,--out", flags->out, "Write a page (.html) or the answer (.json)")
      .type_name("FILE");
  arguments.flag("!--no-events", flags->events,
                 "Leave out the TensorBoard events in RUN/inference");
  return [flags](Invocation& in) {
    check(*flags);
    const std::string task = run::task_of(flags->run);
    check_task(*flags, task);
    if (task == "generate") return explain_text(in, *flags);
    return task == "recommend" ? explain_items(in, *flags) : explain_rows(in, *flags);
  };
}

}  // namespace quern::cli
