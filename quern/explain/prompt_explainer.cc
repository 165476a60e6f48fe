#include "quern/explain/prompt_explainer.h"

#include <fmt/format.h>

#include <chrono>

#include "quern/base/error.h"
#include "quern/explain/prompt_game.h"
#include "quern/infer/generate.h"
#include "quern/model/decoder.h"

namespace quern::explain {
namespace {

/// The likeliest token after another, until the end of the text or `most` of them.
std::vector<uint32_t> likeliest_continuation(run::Run& run, ThreadPool& pool,
                                             const PromptQuestion& question) {
  infer::Session session(run.config, run.parameters, pool);
  infer::GenerateOptions options;
  options.max_tokens = question.max_tokens;
  options.sampling.temperature = 0;
  std::vector<uint32_t> tokens;
  for (const infer::GenerateStep& step :
       infer::generate(session, *run.tokenizer, question.prompt, options).steps)
    tokens.push_back(step.token);
  return tokens;
}

}  // namespace

Explanation explain_prompt(run::Run& run, ThreadPool& pool, const PromptQuestion& question) {
  const auto begin = std::chrono::steady_clock::now();
  const std::vector<uint32_t> prompt = run.tokenizer->encode(question.prompt);
  std::vector<uint32_t> continuation;
  if (!question.target.empty()) {
    continuation = run.tokenizer->encode(question.target);
  } else if (!prompt.empty()) {
    continuation = likeliest_continuation(run, pool, question);
  }
  const std::string text = run.tokenizer->decode(continuation);
  PromptGame game(run, pool, prompt, continuation, question.probability);
  Explanation out;
  out.run = run.folder.string();
  out.task = "generate";
  out.input = question.prompt;
  out.answer = text;
  out.unit = question.probability ? "probability" : "nats";
  out.target = fmt::format("{} that '{}' follows",
                           question.probability ? "probability" : "log-probability", text);
  out.mask_policy =
      "A hidden word's tokens are left out and those after it move up; with every word hidden, the "
      "continuation begins a document.";
  const PartitionTree tree = sequence_tree(game.players());
  EstimateOptions options = question.estimate;
  options.tree = &tree;
  out.attribution = estimate(game, options);
  if (question.audit) {
    run::Run random = run::load_run(run.folder);
    model::initialise(random.config, random.parameters, options.seed);
    PromptGame other(random, pool, prompt, continuation, question.probability);
    out.audit = audit(game, out.attribution, estimate(other, options));
  }
  std::vector<int> player_of(game.words().size(), -1);
  for (size_t player = 0; player < game.players(); ++player)
    player_of[game.word_of_player()[player]] = static_cast<int>(player);
  for (size_t i = 0; i < game.words().size(); ++i) {
    const Word& word = game.words()[i];
    out.parts.push_back({word.special ? "special" : "word", word.text, "", player_of[i]});
  }
  out.rows_answered = game.answered();
  out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return out;
}

}  // namespace quern::explain
