#include "quern/infer/text_scorer.h"

#include <algorithm>

#include "quern/model/decoder.h"

namespace quern::infer {
namespace {

constexpr int64_t kRows = 16;  // windows of a batch

graph::Plan make_plan(const model::ModelConfig& config, const graph::ParameterStore& parameters) {
  model::TraceOptions options;
  options.use = model::TraceOptions::Use::kEvaluate;
  options.batch = kRows;
  return {model::trace(config, parameters, options), {}};
}

}  // namespace

TextScorer::TextScorer(const model::ModelConfig& config, graph::ParameterStore& parameters,
                       const features::Tokenizer& tokenizer, ThreadPool& pool)
    : config_(config),
      tokenizer_(tokenizer),
      separator_(features::separator_of(tokenizer)),
      executor_(make_plan(config, parameters), parameters, states_, pool) {
  batch_.ids = executor_.input("ids");
  batch_.targets = executor_.input("targets");
  if (config_.ngram_orders > 0) {
    batch_.ngram_ids = executor_.input("ngram_ids");
    batch_.ngram_buckets = config_.ngram_buckets;
  }
  *executor_.input("loss_weight").f32() = 0;  // only each token's loss is read
}

void TextScorer::text(std::string_view piece) {
  if (!open_) {
    open_ = true;
    ++documents_;
    const bool wanted = documents_ > 1 || separator_.outside;
    if (wanted && separator_.id && (tokens_.empty() || tokens_.back() != *separator_.id))
      tokens_.push_back(*separator_.id);
  }
  tokenizer_.encode(piece, tokens_);
  take_windows();
}

void TextScorer::end() {
  if (!open_) return;
  open_ = false;
  if (separator_.outside && separator_.id) tokens_.push_back(*separator_.id);
  take_windows();
}

void TextScorer::finish() {
  const size_t left = tokens_.size() - begin_;
  if (left > 1) add_row(static_cast<int64_t>(left) - 1);
  if (rows_ > 0) run();
  begin_ = tokens_.size();
}

void TextScorer::take_windows() {
  const auto length = static_cast<size_t>(config_.context);
  while (tokens_.size() - begin_ > length) {
    add_row(config_.context);
    begin_ += length;
  }
  tokens_.erase(tokens_.begin(), tokens_.begin() + static_cast<ptrdiff_t>(begin_));
  begin_ = 0;
}

void TextScorer::add_row(int64_t targets) {
  const task::TokenStream stream{tokens_.size(), [this](uint64_t begin, std::span<uint32_t> out) {
                                   std::copy_n(tokens_.begin() + static_cast<ptrdiff_t>(begin),
                                               out.size(), out.begin());
                                 }};
  task::fill_row(stream, begin_, targets, rows_, batch_, buffer_);
  task::fill_ngrams(rows_, targets, batch_, buffer_);
  WindowScore score;
  score.tokens = static_cast<uint64_t>(targets);
  for (int64_t i = 1; i <= targets; ++i) {
    const uint32_t token = tokens_[begin_ + static_cast<size_t>(i)];
    if (!tokenizer_.is_special(token)) score.bytes += tokenizer_.token_bytes(token).size();
  }
  windows_.push_back(score);
  if (++rows_ == kRows) run();
}

void TextScorer::run() {
  const std::span<int32_t> targets = batch_.targets.i32_span();
  const auto length = static_cast<size_t>(config_.context);
  std::fill(targets.begin() + static_cast<ptrdiff_t>(static_cast<size_t>(rows_) * length),
            targets.end(), -1);
  executor_.run();
  const std::span<const float> nll = executor_.output("nll").f32_span();
  const size_t first = windows_.size() - static_cast<size_t>(rows_);
  for (size_t row = 0; row < static_cast<size_t>(rows_); ++row) {
    for (const float loss : nll.subspan(row * length, length))
      windows_[first + row].nats += static_cast<double>(loss);
  }
  rows_ = 0;
}

}  // namespace quern::infer
