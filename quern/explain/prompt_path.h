#pragma once

#include <memory>
#include <vector>

#include "quern/base/thread_pool.h"
#include "quern/explain/path_gradients.h"
#include "quern/explain/prompt_game.h"
#include "quern/graph/plan.h"

namespace quern::explain {

/// A prompt as a path through what its tokens are embedded to: each token of a word moves from the
/// token that begins a document to itself; special tokens and the continuation stay. Gradients come
/// from the engine's backward pass over the model's own graph.
class PromptPath {
 public:
  /// The game says what is looked at and explained. Run, parameters, pool and game must outlive the
  /// path.
  PromptPath(const run::Run& run, graph::ParameterStore& parameters, ThreadPool& pool,
             const PromptGame& game, bool probability);

  const Path& path() const { return path_; }
  /// Of a point of the path.
  double operator()(std::span<const double> x, std::span<double> gradient);

 private:
  void plan(const model::ModelConfig& config);
  std::vector<float> embed(task::WindowBatch& batch, const std::vector<uint32_t>& sequence,
                           bool ngrams);

  graph::ParameterStore& parameters_;
  ThreadPool& pool_;
  const PromptGame& game_;
  bool probability_;
  std::vector<uint32_t> sequence_;
  size_t width_ = 0;
  graph::StateStore states_;
  std::unique_ptr<graph::Executor> shown_, given_;
  Path path_;
};

}  // namespace quern::explain
