#include "quern/explain/prompt_game.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "quern/base/error.h"
#include "quern/infer/generate.h"
#include "quern/model/decoder.h"

namespace quern::explain {
namespace {

constexpr int64_t kTokens = 4096;  // of a batch, about
constexpr int64_t kMostPrompts = 64;

}  // namespace

PromptGame::PromptGame(const run::Run& run, graph::ParameterStore& parameters, ThreadPool& pool,
                       std::vector<uint32_t> prompt, std::vector<uint32_t> continuation,
                       bool probability)
    : prompt_(std::move(prompt)),
      continuation_(std::move(continuation)),
      beginning_(infer::prompt_tokens(*run.tokenizer, "")),
      probability_(probability) {
  const auto context = static_cast<size_t>(run.config.context);
  if (prompt_.empty()) {
    throw UsageError("empty_text", "the prompt is empty",
                     "give the text whose words are to be explained");
  }
  if (continuation_.size() >= context) {
    throw Error("too_long",
                fmt::format("the continuation has {} tokens, the model's context {}",
                            continuation_.size(), context),
                "explain a shorter one");
  }
  // The last token of the continuation is never read.
  const size_t seen = std::min(prompt_.size(), context + 1 - continuation_.size());
  first_token_ = prompt_.size() - seen;
  words_ = features::group_words(*run.tokenizer, prompt_);
  for (size_t i = 0; i < words_.size(); ++i)
    if (words_[i].token_end > first_token_ && !words_[i].special) players_.push_back(i);
  length_ = static_cast<int64_t>(std::max(seen, beginning_.size()) + continuation_.size()) - 1;
  rows_ = std::clamp(kTokens / length_, int64_t{1}, kMostPrompts);
  model::TraceOptions options;
  options.use = model::TraceOptions::Use::kEvaluate;
  options.batch = rows_;
  options.length = length_;
  executor_ = std::make_unique<graph::Executor>(
      graph::Plan(model::trace(run.config, parameters, options), {}), parameters, states_, pool);
  batch_ = task::window_of(*executor_, run.config);
  *executor_->input("loss_weight").f32() = 0;  // only each token's loss is read
}

std::vector<uint32_t> PromptGame::sequence() const {
  std::vector<uint32_t> all(prompt_.begin() + static_cast<std::ptrdiff_t>(first_token_),
                            prompt_.end());
  all.insert(all.end(), continuation_.begin(), continuation_.end());
  return all;
}

void PromptGame::evaluate(const Coalitions& coalitions, std::span<double> values) {
  const auto rows = static_cast<size_t>(rows_);
  for (size_t first = 0; first < coalitions.count(); first += rows) {
    const size_t count = std::min(rows, coalitions.count() - first);
    for (size_t i = 0; i < count; ++i) add(coalitions[first + i], static_cast<int64_t>(i));
    run_batch(values.subspan(first, count));
    answered_ += count;
  }
}

void PromptGame::add(std::span<const uint8_t> shown, int64_t row) {
  sequence_.clear();
  std::vector<uint8_t> hidden(words_.size(), 0);
  for (size_t i = 0; i < players_.size(); ++i) hidden[players_[i]] = shown[i] == 0 ? 1 : 0;
  for (size_t w = 0; w < words_.size(); ++w) {
    for (size_t t = std::max(words_[w].token_begin, first_token_);
         t < words_[w].token_end && hidden[w] == 0; ++t)
      sequence_.push_back(prompt_[t]);
  }
  if (sequence_.empty()) sequence_ = beginning_;
  const size_t shown_tokens = sequence_.size();
  sequence_.insert(sequence_.end(), continuation_.begin(), continuation_.end());
  fill_sequence(sequence_, row, true, batch_, buffer_);
  int32_t* line = batch_.targets.i32() + row * length_;
  std::fill_n(line, shown_tokens - 1, -1);  // the prompt itself is not predicted
}

void PromptGame::run_batch(std::span<double> values) {
  const std::span<int32_t> targets = batch_.targets.i32_span();
  const auto length = static_cast<size_t>(length_);
  std::fill(targets.begin() + static_cast<std::ptrdiff_t>(values.size() * length), targets.end(),
            -1);
  executor_->run();
  const std::span<const float> nll = executor_->output("nll").f32_span();
  for (size_t row = 0; row < values.size(); ++row) {
    double sum = 0;
    for (const float loss : nll.subspan(row * length, length)) sum -= static_cast<double>(loss);
    values[row] = probability_ ? std::exp(sum) : sum;
  }
}

std::pair<size_t, size_t> PromptGame::tokens_of(size_t player) const {
  const features::Word& word = words_[players_[player]];
  return {std::max(word.token_begin, first_token_) - first_token_, word.token_end - first_token_};
}

void fill_sequence(const std::vector<uint32_t>& sequence, int64_t row, bool ngrams,
                   task::WindowBatch& batch, std::vector<uint32_t>& buffer) {
  const task::TokenStream stream{
      sequence.size(), [&](uint64_t begin, std::span<uint32_t> out) {
        std::copy_n(sequence.begin() + static_cast<std::ptrdiff_t>(begin), out.size(), out.begin());
      }};
  const auto targets = static_cast<int64_t>(sequence.size()) - 1;
  task::fill_row(stream, 0, targets, row, batch, buffer);
  task::fill_ngrams(row, ngrams ? targets : 0, batch, buffer);
}

}  // namespace quern::explain
