#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "quern/base/thread_pool.h"
#include "quern/explain/prompt_game.h"
#include "quern/explain/row_parts.h"
#include "quern/graph/plan.h"

namespace quern::explain {

/// Attention rollout (Abnar & Zuidema 2020): what flows from each token to those that the answer
/// reads, if attention weights were all that moved it. The weights of a layer are averaged over
/// heads, half of each token stays where it is (the residual), and layers are multiplied.
class AttentionRollout {
 public:
  explicit AttentionRollout(size_t tokens) : tokens_(tokens) {}

  /// Asks a plan for the weights of layers 0 … layers - 1 of its first batch row. The rollout must
  /// outlive the executor's run.
  void watch(size_t layers, graph::PlanOptions& options);
  /// The weights (tokens, tokens) of one head of a layer; those of a layer come one after another,
  /// layers in order.
  void add(size_t layer, std::span<const float> weights);
  /// The flow from each token to the mean of those that are read; sums to 1.
  std::vector<double> flow(std::span<const size_t> read) const;

 private:
  size_t tokens_;
  std::vector<std::vector<double>> sums_;  // by layer: (tokens, tokens)
  std::vector<size_t> heads_;
};

/// The flow from each part of a row: all its tokens are read; of a run of several folds, the mean
/// of its models' flows. Throws UsageError("other_method")
/// for a model without layers of attention.
std::vector<double> row_attention(run::RowRun& run, ThreadPool& pool, const ExplainedRow& row);

/// The flow from each player of a prompt to the places that predict the continuation.
std::vector<double> prompt_attention(run::Run& run, ThreadPool& pool, const PromptGame& game);

}  // namespace quern::explain
