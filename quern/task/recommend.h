#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "quern/features/item_sequences.h"
#include "quern/model/model_config.h"
#include "quern/task/problem.h"

namespace quern::task {

/// Ids of each user's items, and which of them are held out.
struct ItemLog {
  std::vector<std::vector<uint32_t>> ids;  // (users); 0: an item that training never saw
  features::HistorySplit split;

  std::span<const uint32_t> before(size_t user, int64_t place) const {
    return std::span(ids[user]).first(static_cast<size_t>(place));
  }
};
ItemLog make_item_log(const data::Interactions& log, features::HistorySplit split,
                      const features::ItemVocabulary& vocabulary);

/// Learning the next item: a causal decoder with items as vocabulary, all positions of a history in
/// one pass, cross-entropy over all items (Kang & McAuley 2018, with the full softmax).
class ItemProblem : public Problem {
 public:
  /// `token_dropout`: rate at which training inputs are replaced by random items. The log must
  /// outlive the problem.
  ItemProblem(const model::ModelConfig& config, const ItemLog& log, double token_dropout,
              uint64_t seed);

  void declare(graph::ParameterStore& store) const override;
  void initialise(graph::ParameterStore& store, uint64_t seed) const override;
  graph::Graph trace(Use use, int64_t rows, const graph::ParameterStore& store) const override;
  uint64_t samples() const override { return windows_.size(); }
  int64_t training_targets(uint64_t first, int64_t count) override;
  void fill_training(uint64_t first, graph::Executor& executor) override;
  uint64_t evaluation_samples(Part part) const override;
  int64_t fill_evaluation(Part part, uint64_t first, uint64_t stride,
                          graph::Executor& executor) override;
  std::string_view unit() const override { return "item"; }

 private:
  struct Window {
    uint32_t user = 0, index = 0;  // the index-th of the user
    bool cut = false;              // the history is longer than a window: every epoch cuts anew
  };
  struct Range {
    int64_t begin = 0, targets = 0;  // inputs [begin, begin + targets)
  };
  Window window_of(uint64_t sample) const;
  Range range_of(const Window& window, uint64_t epoch) const;
  int64_t write(uint32_t user, Range range, int64_t row, graph::Executor& executor) const;

  model::ModelConfig config_;
  const ItemLog& log_;
  double token_dropout_;
  uint64_t seed_;
  std::vector<Window> windows_;
  std::vector<uint32_t> validated_;  // users
};

}  // namespace quern::task
