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

/// How a model of items is trained. What the spans show must outlive the problem.
struct ItemTraining {
  double token_dropout = 0;  // rate at which inputs are replaced by random items
  /// > 0: the loss is taken over so many candidates a step: all targets of the step, and items
  /// drawn evenly. Each logit is moved by −log of its item's chance to be among them (Yi et al.
  /// 2019, equation 3), so that what is taken often is not pushed down more often. At least the
  /// positions of a step, and fewer than the items.
  int64_t candidates = 0;
  std::span<const uint64_t> counts;  // how often each item (id − 1) was taken
  std::span<const int32_t> side;     // as TraceOptions::side
  uint64_t seed = 1;
};

/// Learning the next item: a causal decoder with items as vocabulary, all positions of a history in
/// one pass, cross-entropy over all items (Kang & McAuley 2018, with the full softmax) or over
/// candidates.
class ItemProblem : public Problem {
 public:
  /// The log must outlive the problem.
  ItemProblem(const model::ModelConfig& config, const ItemLog& log, const ItemTraining& training);

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
  struct Written {
    std::span<const uint32_t> inputs, targets;
  };
  Written write_inputs(uint32_t user, Range range, int64_t row, graph::Executor& executor) const;
  void fill_candidates(uint64_t first, graph::Executor& executor);
  bool learnt(uint32_t id) const { return id != 0 && id < config_.vocabulary; }

  model::ModelConfig config_;
  const ItemLog& log_;
  ItemTraining training_;
  std::vector<int32_t> place_of_;  // item -> its place among the candidates of the step; -1: none
  std::vector<Window> windows_;
  std::vector<uint32_t> validated_;  // users
};

}  // namespace quern::task
