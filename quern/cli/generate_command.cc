#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "quern/base/interrupt.h"
#include "quern/base/readable_text.h"
#include "quern/cli/command.h"
#include "quern/cli/command_list.h"
#include "quern/cli/inference_events.h"
#include "quern/infer/generate.h"
#include "quern/run/run_folder.h"

namespace quern::cli {
namespace {

struct Flags {
  std::string run, prompt, prompt_file;
  infer::GenerateOptions options;
  size_t words = 0;
  bool events = true;
};

std::string candidates_line(const features::Tokenizer& tokenizer, const infer::GenerateStep& step) {
  std::string line = fmt::format("{:<14}", readable(tokenizer.token_bytes(step.token)));
  for (const infer::Candidate& candidate : step.candidates) {
    line += fmt::format("  {} {:.3f}", readable(tokenizer.token_bytes(candidate.token)),
                        candidate.probability);
  }
  return line;
}

nlohmann::json to_json(const features::Tokenizer& tokenizer, const infer::GenerateResult& result) {
  nlohmann::json json{
      {"text", valid_utf8(result.text)},
      {"tokens", result.steps.size()},
      {"prompt_tokens", result.prompt_tokens},
      {"prompt_seconds", result.prompt_seconds},
      {"seconds", result.seconds},
      {"tokens_per_second",
       result.seconds > 0 ? static_cast<double>(result.steps.size()) / result.seconds : 0.0},
      {"stopped_because", infer::name(result.reason)}};
  nlohmann::json steps = nlohmann::json::array();
  for (const infer::GenerateStep& step : result.steps) {
    if (step.candidates.empty()) break;
    nlohmann::json candidates = nlohmann::json::array();
    for (const infer::Candidate& candidate : step.candidates) {
      candidates.push_back({{"token", valid_utf8(tokenizer.token_bytes(candidate.token))},
                            {"id", candidate.token},
                            {"probability", candidate.probability}});
    }
    steps.push_back({{"token", valid_utf8(tokenizer.token_bytes(step.token))},
                     {"id", step.token},
                     {"probability", step.probability},
                     {"candidates", std::move(candidates)}});
  }
  if (!steps.empty()) json["steps"] = std::move(steps);
  return json;
}

/// The curves of this generation beside those of training: how sure the model was, and how quick.
void write_events(const fs::path& run, const infer::GenerateResult& result, Reporter& reporter) {
  if (result.steps.empty()) return;
  write_inference_events(run, reporter, [&](formats::EventWriter& events) {
    int64_t index = 0;
    for (const infer::GenerateStep& step : result.steps) {
      events.scalar("generate/probability", index, step.probability);
      events.scalar("generate/entropy", index, step.entropy);
      events.scalar("generate/milliseconds", index, 1000 * step.seconds);
      ++index;
    }
    events.text("generate/text", 0, result.text);
  });
}

int show_words(Invocation& invocation, const Flags& flags, infer::Session& session,
               const features::Tokenizer& tokenizer, const std::string& prompt) {
  const infer::NextWords next = infer::next_words(session, tokenizer, prompt, flags.words);
  if (invocation.json) {
    nlohmann::json words = nlohmann::json::array();
    for (const auto& word : next.words) {
      words.push_back({{"word", word.word}, {"probability", word.probability}});
    }
    invocation.print(nlohmann::json{{"prompt", prompt},
                                    {"words", words},
                                    {"unassigned", next.open_mass},
                                    {"evaluations", next.evaluations}}
                         .dump() +
                     "\n");
    return 0;
  }
  std::string text = fmt::format("{} …\n", prompt);
  const double highest = next.words.empty() ? 1 : next.words.front().probability;
  for (const auto& word : next.words) {
    std::string bar;
    for (int i = 0; i < static_cast<int>(std::lround(24 * word.probability / highest)); ++i)
      bar += "█";
    text += fmt::format("  {:6.2f} %  {:<16} {}\n", 100 * word.probability, word.word, bar);
  }
  invocation.print(text);
  return 0;
}

int run_generate(Invocation& invocation, Flags& flags) {
  // Wrong values are told before a model is loaded for them.
  flags.options.sampling.seed = static_cast<uint64_t>(invocation.options.integer("seed"));
  flags.options.sampling.validate();
  if (!flags.prompt.empty() && !flags.prompt_file.empty()) {
    throw UsageError("two_prompts", "a prompt and --prompt-file were both given",
                     "give one of them");
  }
  if (flags.prompt == "-") flags.prompt_file = "-";
  const std::string prompt =
      flags.prompt_file.empty() ? flags.prompt : read_input(invocation, flags.prompt_file);
  ThreadPool pool(static_cast<int>(invocation.options.integer("threads")));
  run::Run model = run::load_run(flags.run);
  model.parameters.use(invocation.gpu.get());
  infer::Session session(model.config, model.parameters, pool);
  const features::Tokenizer& tokenizer = *model.tokenizer;
  if (flags.words > 0) return show_words(invocation, flags, session, tokenizer, prompt);

  InterruptGuard guard;
  infer::GenerateObserver observer;
  observer.interrupted = interrupted;
  const bool listing = flags.options.candidates > 0;
  if (!invocation.json) {
    if (listing) {
      invocation.print(fmt::format("{:<14}  the {} likeliest, with their probabilities\n", "drawn",
                                   flags.options.candidates));
      observer.step = [&](const infer::GenerateStep& step) {
        invocation.print(candidates_line(tokenizer, step) + "\n");
      };
    } else {
      invocation.print(prompt);
      observer.text = [&](std::string_view text) { invocation.print(text); };
    }
  }
  const infer::GenerateResult result =
      infer::generate(session, tokenizer, prompt, flags.options, observer);
  if (invocation.json) {
    invocation.print(to_json(tokenizer, result).dump() + "\n");
  } else {
    invocation.print(listing ? fmt::format("\n{}{}\n", prompt, result.text) : "\n");
    invocation.reporter->note(fmt::format(
        "{} tokens, {:.0f} a second; stopped: {}", result.steps.size(),
        result.seconds > 0 ? static_cast<double>(result.steps.size()) / result.seconds : 0.0,
        infer::name(result.reason)));
  }
  if (flags.events) write_events(flags.run, result, *invocation.reporter);
  return 0;
}

}  // namespace

Action declare_generate(Arguments& arguments, Invocation&) {
  auto flags = std::make_shared<Flags>();
  infer::SamplingOptions& sampling = flags->options.sampling;
  arguments.value("RUN", flags->run, "The run folder that quern train wrote").required();
  arguments.value("PROMPT", flags->prompt,
                  "The text to continue; - reads standard input; none begins a document");
  arguments.value("--prompt-file", flags->prompt_file, "Read the prompt from a file");
  arguments.value("--max-tokens", flags->options.max_tokens, "Tokens to draw at most")
      .not_negative()
      .show_default();
  arguments.value("--temperature", sampling.temperature, "0: always the likeliest").show_default();
  arguments.value("--top-k", sampling.top_k, "Keep the K likeliest; 0: all").show_default();
  arguments.value("--top-p", sampling.top_p, "Keep the likeliest up to this sum").show_default();
  arguments.value("--min-p", sampling.min_p, "Drop what is below this share of the likeliest")
      .show_default();
  arguments
      .value("--repetition-penalty", sampling.repetition_penalty,
             "Above 1: what was said becomes less likely")
      .show_default();
  arguments.value("--stop", flags->options.stop,
                  "End before this text; may be given several times");
  arguments.value("--show-probs", flags->options.candidates, "At each step, the K likeliest tokens")
      .between(1, 1000);
  arguments
      .value("--show-words", flags->words,
             "Instead of text: the K likeliest next words, summed over word pieces")
      .between(1, 1000);
  arguments.flag("!--no-events", flags->events,
                 "Leave out the TensorBoard events in RUN/inference");
  return [flags](Invocation& invocation) { return run_generate(invocation, *flags); };
}

}  // namespace quern::cli
