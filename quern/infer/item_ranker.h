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
  static constexpr int64_t kBatch = 64;  // histories asked at once

  /// `counts`: how often each item was taken; `side`: as TraceOptions::side. All must outlive the
  /// ranker.
  ItemRanker(const model::ModelConfig& config, graph::ParameterStore& parameters,
             std::span<const uint64_t> counts, std::span<const int32_t> side, ThreadPool& pool);

  /// Bytes that a ranker of such a model takes, beside the model itself.
  static size_t bytes(const model::ModelConfig& config, std::span<const int32_t> side);

  /// Calls `take(i, scores)` for each history in order: scores (items + 1) are logits of what comes
  /// next, index 0 meaningless, and may be written to. Of a history the last `context` items count;
  /// to an empty one each item is as likely as it was taken often, one never taken counting as
  /// taken half a time, so that it too has a likelihood.
  void rank(std::span<const std::vector<uint32_t>> histories,
            const std::function<void(size_t, std::span<float>)>& take);

 private:
  struct Step {
    graph::StateStore states;
    std::unique_ptr<graph::Executor> executor;
  };
  std::unique_ptr<Step> make(int64_t batch, graph::ParameterStore& parameters, ThreadPool& pool);

  model::ModelConfig config_;
  std::span<const uint64_t> counts_;
  std::span<const int32_t> side_;
  std::unique_ptr<Step> one_, many_;
};

/// What stands for each item, its own row and its side columns added up: (items + 1, width). `side`
/// as TraceOptions::side.
std::vector<float> item_rows(const model::ModelConfig& config,
                             const graph::ParameterStore& parameters,
                             std::span<const int32_t> side);

/// Items by the cosine of their embeddings (item_rows) with that of
/// `item`: (items + 1) scores, the item's own left out (-infinity).
std::vector<float> similar_items(const model::ModelConfig& config,
                                 const graph::ParameterStore& parameters,
                                 std::span<const int32_t> side, uint32_t item);

}  // namespace quern::infer
