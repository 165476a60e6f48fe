#include "quern/explain/prompt_path.h"

#include <algorithm>
#include <cmath>

#include "quern/model/decoder.h"

namespace quern::explain {
PromptPath::PromptPath(const run::Run& run, graph::ParameterStore& parameters, ThreadPool& pool,
                       const PromptGame& game, bool probability)
    : parameters_(parameters),
      pool_(pool),
      game_(game),
      probability_(probability),
      sequence_(game.sequence()),
      width_(static_cast<size_t>(run.config.width)) {
  plan(run.config);
  task::WindowBatch batch = task::window_of(*shown_, run.config);
  const std::vector<float> own = embed(batch, sequence_, true);
  std::vector<uint32_t> begins = sequence_;
  for (size_t player = 0; player < game.players(); ++player) {
    const auto [first, last] = game_.tokens_of(player);
    for (size_t t = first; t < last; ++t) begins[t] = game.beginning();
  }
  const std::vector<float> other = embed(batch, begins, false);
  std::vector<float> baseline = own;
  for (size_t player = 0; player < game.players(); ++player) {
    const auto [first, last] = game_.tokens_of(player);
    std::copy(other.begin() + static_cast<std::ptrdiff_t>(first * width_),
              other.begin() + static_cast<std::ptrdiff_t>(last * width_),
              baseline.begin() + static_cast<std::ptrdiff_t>(first * width_));
  }
  path_.x.assign(own.begin(), own.end());
  path_.baselines = {std::move(baseline)};
  path_.players = game.players();
  path_.gather = [this](std::span<const double> coordinates, std::span<double> players) {
    for (size_t player = 0; player < players.size(); ++player) {
      const auto [first, last] = game_.tokens_of(player);
      for (size_t i = first * width_; i < last * width_; ++i) players[player] += coordinates[i];
    }
  };
}

void PromptPath::plan(const model::ModelConfig& config) {
  model::TraceOptions trace;
  trace.use = model::TraceOptions::Use::kEvaluate;
  trace.length = static_cast<int64_t>(sequence_.size()) - 1;  // the last token is never read
  trace.tokens = model::Tokens::kShown;
  shown_ = std::make_unique<graph::Executor>(
      graph::Plan(model::trace(config, parameters_, trace), {}), parameters_, states_, pool_);
  trace.tokens = model::Tokens::kGiven;
  graph::Graph graph = model::trace(config, parameters_, trace);
  graph::PlanOptions options;
  options.backward = true;
  options.parameter_gradients = false;
  options.wrt = {graph.input("tokens")};
  given_ = std::make_unique<graph::Executor>(graph::Plan(std::move(graph), options), parameters_,
                                             states_, pool_);
  *given_->input("loss_weight").f32() = -1;  // so that "loss" is the log-probability
  const std::span<int32_t> targets = given_->input("targets").i32_span();
  const size_t prompt = sequence_.size() - game_.continuation_tokens();
  for (size_t t = 0; t < targets.size(); ++t)
    targets[t] = t + 1 < prompt ? -1 : static_cast<int32_t>(sequence_[t + 1]);
}

std::vector<float> PromptPath::embed(task::WindowBatch& batch,
                                     const std::vector<uint32_t>& sequence, bool ngrams) {
  std::vector<uint32_t> buffer;
  fill_sequence(sequence, 0, ngrams, batch, buffer);
  *shown_->input("loss_weight").f32() = 0;
  shown_->run();
  const std::span<const float> tokens = shown_->output("tokens").f32_span();
  return {tokens.begin(), tokens.end()};
}

double PromptPath::operator()(std::span<const double> x, std::span<double> gradient) {
  const TensorView tokens = given_->input("tokens");
  std::ranges::transform(x, tokens.f32(), [](double one) { return static_cast<float>(one); });
  given_->run();
  double log_probability = 0;
  for (const float loss : given_->output("nll").f32_span())
    log_probability -= static_cast<double>(loss);
  const double value = probability_ ? std::exp(log_probability) : log_probability;
  const double outer = probability_ ? value : 1;
  const std::span<const float> found =
      given_->gradient(given_->plan().graph().input("tokens")).f32_span();
  std::ranges::transform(found, gradient.begin(),
                         [outer](float one) { return outer * static_cast<double>(one); });
  return value;
}

}  // namespace quern::explain
