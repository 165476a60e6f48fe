#include "quern/task/recommend.h"

#include <algorithm>

#include "quern/base/random.h"
#include "quern/model/decoder.h"
#include "quern/task/text_windows.h"

namespace quern::task {

ItemLog make_item_log(const data::Interactions& log, features::HistorySplit split,
                      const features::ItemVocabulary& vocabulary) {
  std::vector<uint32_t> id_of(log.items.size());
  for (size_t i = 0; i < log.items.size(); ++i) id_of[i] = vocabulary.find(log.items[i]);
  ItemLog out;
  out.split = std::move(split);
  for (size_t user = 0; user < log.users.size(); ++user) {
    std::vector<uint32_t>& ids = out.ids.emplace_back();
    for (const uint32_t item : log.items_of(user)) ids.push_back(id_of[item]);
  }
  return out;
}

ItemProblem::ItemProblem(const model::ModelConfig& config, const ItemLog& log, double token_dropout,
                         uint64_t seed)
    : config_(config), log_(log), token_dropout_(token_dropout), seed_(seed) {
  config_.validate();
  for (uint32_t user = 0; user < log.ids.size(); ++user) {
    const features::HistorySplit::Part& part = log.split.parts[user];
    const int64_t targets = part.train_end - 1;
    if (targets > 0) {
      const bool cut = targets > config_.context;
      // A cut history has a window more than fits, for the phase.
      const int64_t count = cut ? (targets + config_.context - 1) / config_.context + 1 : 1;
      for (uint32_t i = 0; i < count; ++i) windows_.push_back({user, i, cut});
    }
    if (part.validation > 0 && log.ids[user][static_cast<size_t>(part.validation)] != 0)
      validated_.push_back(user);
  }
}

void ItemProblem::declare(graph::ParameterStore& store) const {
  model::declare_parameters(config_, store);
}

void ItemProblem::initialise(graph::ParameterStore& store, uint64_t seed) const {
  model::initialise(config_, store, seed);
}

graph::Graph ItemProblem::trace(Use use, int64_t rows, const graph::ParameterStore& store) const {
  model::TraceOptions options;
  options.use =
      use == Use::kTrain ? model::TraceOptions::Use::kTrain : model::TraceOptions::Use::kEvaluate;
  options.batch = rows;
  return model::trace(config_, store, options);
}

ItemProblem::Window ItemProblem::window_of(uint64_t sample) const {
  const uint64_t epoch = sample / windows_.size();
  return windows_[permute(sample % windows_.size(), windows_.size(), seed_,
                          static_cast<uint32_t>(epoch))];
}

ItemProblem::Range ItemProblem::range_of(const Window& window, uint64_t epoch) const {
  const int64_t total = log_.split.parts[window.user].train_end - 1;
  if (!window.cut) return {0, total};
  const auto length = static_cast<uint64_t>(config_.context);
  const auto phase = static_cast<int64_t>(
      Random(seed_, Stream::kBatch, epoch * log_.ids.size() + window.user).below(length));
  const int64_t begin = window.index * config_.context - phase;
  const int64_t end = std::min(begin + config_.context, total);
  const int64_t from = std::max<int64_t>(begin, 0);
  return {from, std::max<int64_t>(end - from, 0)};
}

int64_t ItemProblem::training_targets(uint64_t first, int64_t count) {
  int64_t targets = 0;
  for (uint64_t sample = first; sample < first + static_cast<uint64_t>(count); ++sample)
    targets += range_of(window_of(sample), sample / windows_.size()).targets;
  return targets;
}

/// Inputs from the left, padding after them: a causal model needs no mask.
int64_t ItemProblem::write(uint32_t user, Range range, int64_t row,
                           graph::Executor& executor) const {
  int32_t* ids = executor.input("ids").i32() + row * config_.context;
  int32_t* next = executor.input("targets").i32() + row * config_.context;
  std::fill_n(ids, config_.context, 0);
  std::fill_n(next, config_.context, -1);
  const std::vector<uint32_t>& items = log_.ids[user];
  for (int64_t i = 0; i < range.targets; ++i) {
    ids[i] = static_cast<int32_t>(items[static_cast<size_t>(range.begin + i)]);
    next[i] = static_cast<int32_t>(items[static_cast<size_t>(range.begin + i + 1)]);
  }
  return range.targets;
}

void ItemProblem::fill_training(uint64_t first, graph::Executor& executor) {
  const int64_t rows = executor.input("ids").shape()[0];
  for (int64_t row = 0; row < rows; ++row) {
    const uint64_t sample = first + static_cast<uint64_t>(row);
    const Window window = window_of(sample);
    const int64_t count =
        write(window.user, range_of(window, sample / windows_.size()), row, executor);
    if (token_dropout_ <= 0) continue;
    Random random(seed_, Stream::kTokenDropout, sample);
    int32_t* ids = executor.input("ids").i32() + row * config_.context;
    for (int64_t i = 0; i < count; ++i) {
      const double draw = random.uniform();
      const uint64_t item = 1 + random.below(static_cast<uint64_t>(config_.vocabulary - 1));
      if (draw < token_dropout_) ids[i] = static_cast<int32_t>(item);
    }
  }
}

uint64_t ItemProblem::evaluation_samples(Part part) const {
  return part == Part::kTrain ? windows_.size() : validated_.size();
}

int64_t ItemProblem::fill_evaluation(Part part, uint64_t first, uint64_t stride,
                                     graph::Executor& executor) {
  int64_t counted = 0;
  const int64_t rows = executor.input("ids").shape()[0];
  for (int64_t row = 0; row < rows; ++row) {
    const uint64_t sample = first + static_cast<uint64_t>(row) * stride;
    if (sample >= evaluation_samples(part)) {
      write(0, {}, row, executor);
    } else if (part == Part::kTrain) {
      counted += write(windows_[sample].user, range_of(windows_[sample], 0), row, executor);
    } else {
      // One target a user: what comes after the last of its history.
      const uint32_t user = validated_[sample];
      const int64_t place = log_.split.parts[user].validation;
      const int64_t count = std::min(place, config_.context);
      write(user, {place - count, count}, row, executor);
      int32_t* next = executor.input("targets").i32() + row * config_.context;
      std::fill_n(next, count - 1, -1);
      ++counted;
    }
  }
  return counted;
}

}  // namespace quern::task
