#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "quern/base/thread_pool.h"
#include "quern/graph/plan.h"
#include "quern/graph/store.h"
#include "quern/model/model_config.h"

namespace quern::infer {

/// One sequence being read and continued: the decode plans of a model and its key-value cache, all
/// made up front, so that a token costs no allocation. The graph is the training graph's, traced
/// for decoding.
class Session {
 public:
  /// The parameters must outlive the session, and keep their values.
  Session(const model::ModelConfig& config, graph::ParameterStore& parameters, ThreadPool& pool);
  ~Session();

  /// Appends tokens and returns the logits (vocabulary) of what follows the last, valid until the
  /// next call. When the context is full, the older half of it is forgotten and the rest read
  /// again. Throws Error("unknown_token") for an id outside the vocabulary; at least one token is
  /// needed.
  std::span<const float> feed(std::span<const uint32_t> tokens);

  /// The tokens held now, oldest first: at most the context.
  std::span<const uint32_t> tokens() const { return tokens_; }
  /// Forgets all but the first `length` tokens: the way back to a common prefix.
  void rewind(size_t length);
  void reset() { rewind(0); }
  size_t context() const { return static_cast<size_t>(config_.context); }
  size_t allocated_bytes() const;

 private:
  struct Step;
  void run(Step& step, size_t begin);

  model::ModelConfig config_;
  graph::StateStore states_;
  std::vector<std::unique_ptr<Step>> steps_;  // by falling number of tokens
  std::vector<uint32_t> tokens_;
  std::span<const float> logits_;
};

}  // namespace quern::infer
