#include "quern/explain/attention_rollout.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "quern/base/error.h"
#include "quern/explain/fold_answers.h"
#include "quern/model/decoder.h"

namespace quern::explain {
namespace {

/// Flow from tokens (columns, then places of the picture, then of the text) to the row's parts.
std::vector<double> by_part(const model::EncoderConfig& config, const ExplainedRow& row,
                            std::span<const double> flow) {
  std::vector<double> parts(row.parts.size(), 0.0);
  const auto numbers = static_cast<size_t>(config.numbers);
  const auto columns = static_cast<size_t>(config.columns());
  const auto pictures = static_cast<size_t>(config.image_tokens());
  const auto [rows, across] = config.image_grid();
  const double of_pixel = pictures == 0
                              ? 0
                              : static_cast<double>(pictures) /
                                    static_cast<double>(config.image.height * config.image.width);
  for (size_t i = 0; i < parts.size(); ++i) {
    const RowPart& part = row.parts[i];
    for (const size_t n : part.numbers) parts[i] += flow[n];
    for (const size_t c : part.categories) parts[i] += flow[numbers + c];
    for (const uint32_t pixel : part.pixels) {
      const int64_t y = pixel / config.image.width, x = pixel % config.image.width;
      const int64_t token =
          y * rows / config.image.height * across + x * across / config.image.width;
      parts[i] += of_pixel * flow[columns + static_cast<size_t>(token)];
    }
    if (part.kind != RowPart::Kind::kWord) continue;
    const features::Word& word = row.words[part.word];
    for (size_t t = word.token_begin; t < std::min(word.token_end, row.tokens.size()); ++t)
      parts[i] += flow[columns + pictures + t];
  }
  return parts;
}

/// Of one model alone.
std::vector<double> model_attention(const model::EncoderConfig& config,
                                    graph::ParameterStore& parameters, ThreadPool& pool,
                                    const ExplainedRow& row) {
  const auto before_text = static_cast<size_t>(config.columns() + config.image_tokens());
  const size_t context = config.has_text() ? static_cast<size_t>(config.trunk.context) : 0;
  AttentionRollout rollout(before_text + context);
  graph::PlanOptions options;
  rollout.watch(static_cast<size_t>(config.trunk.layers), options);
  graph::StateStore states;
  graph::Executor executor(graph::Plan(model::trace_encoder(config, parameters, {}), options),
                           parameters, states, pool);
  task::fill_rows(config, row.inputs, std::array<int64_t, 1>{0}, executor, nullptr, 0, &pool);
  executor.run();
  std::vector<size_t> read(before_text +
                           (context > 0 ? std::max<size_t>(row.tokens.size(), 1) : 0));
  std::iota(read.begin(), read.end(), size_t{0});
  return by_part(config, row, rollout.flow(read));
}

}  // namespace

void AttentionRollout::watch(size_t layers, graph::PlanOptions& options) {
  for (size_t layer = 0; layer < layers; ++layer) {
    options.observe.push_back({static_cast<int32_t>(layer),
                               graph::Tap::kAttention,
                               {},
                               [this](int32_t at, int64_t batch, int64_t, TensorView weights) {
                                 if (batch == 0) add(static_cast<size_t>(at), weights.f32_span());
                               }});
  }
}

void AttentionRollout::add(size_t layer, std::span<const float> weights) {
  if (layer >= sums_.size()) {
    sums_.resize(layer + 1, std::vector<double>(tokens_ * tokens_, 0.0));
    heads_.resize(layer + 1, 0);
  }
  for (size_t i = 0; i < weights.size(); ++i) sums_[layer][i] += static_cast<double>(weights[i]);
  ++heads_[layer];
}

std::vector<double> AttentionRollout::flow(std::span<const size_t> read) const {
  std::vector<double> flow(tokens_, 0.0), below(tokens_);
  for (const size_t token : read) flow[token] += 1 / static_cast<double>(read.size());
  for (size_t layer = sums_.size(); layer-- > 0;) {
    std::ranges::fill(below, 0.0);
    for (size_t to = 0; to < tokens_; ++to) {
      if (flow[to] == 0) continue;
      const double* weights = sums_[layer].data() + to * tokens_;
      const double share = flow[to] / static_cast<double>(heads_[layer]);
      for (size_t from = 0; from < tokens_; ++from) below[from] += share * weights[from] / 2;
      below[to] += flow[to] / 2;
    }
    flow.swap(below);
  }
  return flow;
}

std::vector<double> row_attention(run::RowRun& run, ThreadPool& pool, const ExplainedRow& row) {
  if (run.config.trunk.layers == 0) {
    throw UsageError("other_method", "--attention: this model has no layers of attention",
                     "leave it out");
  }
  const int64_t copies = run.config.copies;
  if (copies == 1) return model_attention(run.config, run.parameters, pool, row);
  std::vector<double> mean(row.parts.size(), 0.0);
  for (int64_t copy = 0; copy < copies; ++copy) {
    graph::ParameterStore parameters = copy_of(run, copy);
    const std::vector<double> flow = model_attention(run.config.single(), parameters, pool, row);
    for (size_t i = 0; i < mean.size(); ++i) mean[i] += flow[i] / static_cast<double>(copies);
  }
  return mean;
}

std::vector<double> prompt_attention(run::Run& run, ThreadPool& pool, const PromptGame& game) {
  const std::vector<uint32_t> sequence = game.sequence();
  const size_t tokens = sequence.size() - 1;  // the last is never read
  AttentionRollout rollout(tokens);
  graph::PlanOptions options;
  rollout.watch(static_cast<size_t>(run.config.layers), options);
  model::TraceOptions trace;
  trace.use = model::TraceOptions::Use::kEvaluate;
  trace.length = static_cast<int64_t>(tokens);
  graph::StateStore states;
  graph::Executor executor(graph::Plan(model::trace(run.config, run.parameters, trace), options),
                           run.parameters, states, pool);
  task::WindowBatch batch = task::window_of(executor, run.config);
  std::vector<uint32_t> buffer;
  fill_sequence(sequence, 0, true, batch, buffer);
  *executor.input("loss_weight").f32() = 0;
  executor.run();
  std::vector<size_t> read;
  for (size_t t = sequence.size() - game.continuation_tokens() - 1; t < tokens; ++t)
    read.push_back(t);
  const std::vector<double> flow = rollout.flow(read);
  std::vector<double> players(game.players(), 0.0);
  for (size_t player = 0; player < players.size(); ++player) {
    const auto [first, last] = game.tokens_of(player);
    players[player] = std::accumulate(flow.begin() + static_cast<std::ptrdiff_t>(first),
                                      flow.begin() + static_cast<std::ptrdiff_t>(last), 0.0);
  }
  return players;
}

}  // namespace quern::explain
