#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "quern/base/thread_pool.h"
#include "quern/graph/plan.h"
#include "quern/graph/store.h"
#include "quern/model/model_config.h"

namespace quern::infer {

/// Histories in, a score of every item out. Its plans are made once.
class ItemRanker {
 public:
  /// The parameters must outlive the ranker.
  ItemRanker(const model::ModelConfig& config, graph::ParameterStore& parameters, ThreadPool& pool);

  /// Calls `take(i, scores)` for each history in order: scores (items + 1) are logits of what comes
  /// next, index 0 meaningless, and may be written to. Of a history the last `context` items count;
  /// none may be empty.
  void rank(std::span<const std::vector<uint32_t>> histories,
            const std::function<void(size_t, std::span<float>)>& take);

 private:
  struct Step {
    graph::StateStore states;
    std::unique_ptr<graph::Executor> executor;
  };
  std::unique_ptr<Step> make(int64_t batch, graph::ParameterStore& parameters, ThreadPool& pool);

  model::ModelConfig config_;
  std::unique_ptr<Step> one_, many_;
};

/// Items by the cosine of their embeddings with that of `item`: (items + 1) scores, the item's own
/// left out (-infinity).
std::vector<float> similar_items(const graph::ParameterStore& parameters, uint32_t item);

}  // namespace quern::infer
