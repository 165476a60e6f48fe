#include "quern/explain/prompt_explainer.h"

#include <fmt/format.h>

#include <chrono>

#include "quern/base/error.h"
#include "quern/explain/attention_rollout.h"
#include "quern/explain/prompt_game.h"
#include "quern/explain/prompt_path.h"
#include "quern/infer/generate.h"
#include "quern/kernels/cuda/device_name.h"
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

constexpr const char* kPathPolicy =
    "nothing is left out; embeddings move on a straight line from that of the token that begins a "
    "document to the word's own.";

Attribution prompt_gradients(const run::Run& run, graph::ParameterStore& parameters,
                             ThreadPool& pool, const PromptGame& game, bool probability,
                             const EstimateOptions& options) {
  if (options.method == Method::kExpectedGradients) {
    throw UsageError("other_method",
                     "--method eg starts from background rows, and a prompt has none",
                     "use --method ig");
  }
  PromptPath path(run, parameters, pool, game, probability);
  return path_attribution(
      [&](std::span<const double> x, std::span<double> gradient) { return path(x, gradient); },
      path.path(), options);
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
  PromptGame game(run, run.parameters, pool, prompt, continuation, question.probability);
  Explanation out;
  out.run = run.folder.string();
  out.device = kernels::cuda::device_name(run.parameters.gpu());
  out.task = "generate";
  out.input = question.prompt;
  out.answer = text;
  out.unit = question.probability ? "probability" : "nats";
  out.target = fmt::format("{} that '{}' follows",
                           question.probability ? "probability" : "log-probability", text);
  out.mask_policy =
      "A hidden word's tokens are left out and those after it move up; with every word hidden, the "
      "continuation begins a document.";
  std::vector<int> player_of(game.words().size(), -1);
  for (size_t player = 0; player < game.players(); ++player)
    player_of[game.word_of_player()[player]] = static_cast<int>(player);
  for (size_t i = 0; i < game.words().size(); ++i) {
    const features::Word& word = game.words()[i];
    out.parts.push_back({word.special ? "special" : "word", word.text, "", player_of[i]});
  }
  GroupedGame grouped(
      game, group_players(out.parts, game.players(), question.estimate.method == Method::kLime));
  const PartitionTree tree = sequence_tree(grouped.players());
  EstimateOptions options = question.estimate;
  options.tree = &tree;
  const auto attribute = [&](graph::ParameterStore& parameters, PromptGame& asked, Game& words) {
    if (!follows_gradients(options.method)) return estimate(words, options);
    return prompt_gradients(run, parameters, pool, asked, question.probability, options);
  };
  if (follows_gradients(options.method)) out.mask_policy = kPathPolicy;
  out.attribution = attribute(run.parameters, game, grouped);
  if (question.attention)
    out.attention = group_sums(prompt_attention(run, pool, game), grouped.group_of());
  add_interactions(grouped, options, question.interactions, out);
  if (question.audit) {
    graph::ParameterStore random = untrained(run.config, run.parameters.gpu(), options.seed);
    PromptGame other(run, random, pool, prompt, continuation, question.probability);
    GroupedGame other_grouped(other, grouped.group_of());
    out.audit = audit(grouped, out.attribution, attribute(random, other, other_grouped));
  }
  out.rows_answered = game.answered();
  out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return out;
}

}  // namespace quern::explain
