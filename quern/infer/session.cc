#include "quern/infer/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "quern/base/error.h"
#include "quern/features/ngram_ids.h"
#include "quern/model/decoder.h"

namespace quern::infer {

/// A plan that reads `length` tokens at once, with its tensors looked up.
struct Session::Step {
  Step(size_t tokens, graph::Executor made, bool has_ngrams)
      : length(tokens),
        executor(std::move(made)),
        ids(executor.input("ids").i32_span()),
        offsets(executor.input("offsets").i32()),
        lengths(executor.input("lengths").i32()),
        rows(executor.input("rows").i32()),
        logits(executor.output("logits").f32_span()) {
    if (has_ngrams) ngrams = executor.input("ngram_ids").i32_span();
  }

  size_t length;
  graph::Executor executor;
  std::span<int32_t> ids, ngrams;
  int32_t *offsets, *lengths, *rows;
  std::span<const float> logits;
};

Session::Session(const model::ModelConfig& config, graph::ParameterStore& parameters,
                 ThreadPool& pool)
    : config_(config) {
  // A prompt is read in the largest pieces that fit; no piece is padded, so no token depends on
  // padding.
  constexpr std::array<int64_t, 5> kLengths = {256, 64, 16, 4, 1};
  for (const int64_t length : kLengths) {
    if (length > config.context) continue;
    model::TraceOptions options;
    options.use = model::TraceOptions::Use::kDecode;
    options.length = length;
    graph::Plan plan(model::trace(config, parameters, options), {.fixed_parameters = true});
    steps_.push_back(std::make_unique<Step>(
        static_cast<size_t>(length), graph::Executor(std::move(plan), parameters, states_, pool),
        config.ngram_orders > 0));
  }
  tokens_.reserve(context());
}

Session::~Session() = default;

void Session::run(Step& step, size_t begin) {
  for (size_t i = 0; i < step.length; ++i) step.ids[i] = static_cast<int32_t>(tokens_[begin + i]);
  const auto orders = static_cast<size_t>(config_.ngram_orders);
  for (size_t i = 0; i < step.length && orders > 0; ++i) {
    features::ngram_ids(tokens_, begin + i, config_.ngram_buckets,
                        step.ngrams.subspan(i * orders, orders));
  }
  *step.offsets = static_cast<int32_t>(begin);
  *step.lengths = static_cast<int32_t>(begin + step.length);
  *step.rows = static_cast<int32_t>(step.length - 1);
  step.executor.run();
  logits_ = step.logits;
}

std::span<const float> Session::feed(std::span<const uint32_t> tokens) {
  if (tokens.empty())
    throw Error("empty_prompt", "there is no token to continue from", "give a prompt");
  for (const uint32_t token : tokens) {
    if (token >= static_cast<uint64_t>(config_.vocabulary)) {
      throw Error("unknown_token",
                  fmt::format("token {} is outside the model's vocabulary of {}", token,
                              config_.vocabulary),
                  "use the tokenizer of the same run folder");
    }
  }
  size_t read = tokens_.size();
  // Only what can still be seen is read: of a long prompt, its end.
  if (tokens.size() >= context()) {
    tokens_.clear();
    read = 0;
    tokens = tokens.last(context());
  } else if (tokens_.size() + tokens.size() > context()) {
    const size_t keep = std::min(context() / 2, context() - tokens.size());
    tokens_.erase(tokens_.begin(),
                  tokens_.end() - static_cast<ptrdiff_t>(std::min(keep, tokens_.size())));
    read = 0;
  }
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  for (const auto& step : steps_) {
    while (tokens_.size() - read >= step->length) {
      run(*step, read);
      read += step->length;
    }
  }
  return logits_;
}

void Session::rewind(size_t length) { tokens_.resize(std::min(length, tokens_.size())); }

size_t Session::allocated_bytes() const {
  size_t bytes = states_.allocated_bytes();
  for (const auto& step : steps_) bytes += step->executor.allocated_bytes();
  return bytes;
}

}  // namespace quern::infer
