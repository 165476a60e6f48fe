#include "quern/task/recommend.h"

#include <algorithm>
#include <cmath>

#include "quern/base/random.h"
#include "quern/model/decoder.h"
#include "quern/task/text_windows.h"

namespace quern::task {

ItemLog make_item_log(const data::Interactions& log, features::HistorySplit split,
                      const features::ItemVocabulary& vocabulary) {
  return {features::ids_of(log, vocabulary), std::move(split)};
}

ItemProblem::ItemProblem(const model::ModelConfig& config, const ItemLog& log,
                         const ItemTraining& training)
    : config_(config), log_(log), training_(training) {
  config_.validate();
  if (training.candidates > 0) place_of_.assign(static_cast<size_t>(config_.vocabulary), -1);
  for (uint32_t user = 0; user < log.ids.size(); ++user) {
    const features::HistorySplit::Part& part = log.split.parts[user];
    const int64_t targets = part.train_end - 1;
    if (targets > 0) {
      const bool cut = targets > config_.context;
      // A cut history has a window more than fits, for the phase.
      const int64_t count = cut ? (targets + config_.context - 1) / config_.context + 1 : 1;
      for (uint32_t i = 0; i < count; ++i) windows_.push_back({user, i, cut});
    }
    if (part.validation > 0 && learnt(log.ids[user][static_cast<size_t>(part.validation)]))
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
  options.one_target = use == Use::kEvaluate;
  options.candidates = use == Use::kTrain ? training_.candidates : 0;
  options.side = training_.side;
  return model::trace(config_, store, options);
}

ItemProblem::Window ItemProblem::window_of(uint64_t sample) const {
  const uint64_t epoch = sample / windows_.size();
  return windows_[permute(sample % windows_.size(), windows_.size(), training_.seed,
                          static_cast<uint32_t>(epoch))];
}

ItemProblem::Range ItemProblem::range_of(const Window& window, uint64_t epoch) const {
  const int64_t total = log_.split.parts[window.user].train_end - 1;
  if (!window.cut) return {0, total};
  const auto length = static_cast<uint64_t>(config_.context);
  const auto phase = static_cast<int64_t>(
      Random(training_.seed, Stream::kBatch, epoch * log_.ids.size() + window.user).below(length));
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
ItemProblem::Written ItemProblem::write_inputs(uint32_t user, Range range, int64_t row,
                                               graph::Executor& executor) const {
  int32_t* ids = executor.input("ids").i32() + row * config_.context;
  std::fill_n(ids, config_.context, 0);
  const auto items = std::span(log_.ids[user]);
  const auto begin = static_cast<size_t>(range.begin), count = static_cast<size_t>(range.targets);
  const Written written{items.subspan(begin, count), items.subspan(begin + 1, count)};
  for (size_t i = 0; i < count; ++i)
    ids[i] = learnt(written.inputs[i]) ? static_cast<int32_t>(written.inputs[i]) : 0;
  return written;
}

void ItemProblem::fill_training(uint64_t first, graph::Executor& executor) {
  const int64_t rows = executor.input("ids").shape()[0];
  for (int64_t row = 0; row < rows; ++row) {
    const uint64_t sample = first + static_cast<uint64_t>(row);
    const Window window = window_of(sample);
    const Written written =
        write_inputs(window.user, range_of(window, sample / windows_.size()), row, executor);
    int32_t* next = executor.input("targets").i32() + row * config_.context;
    std::fill_n(next, config_.context, -1);
    std::copy(written.targets.begin(), written.targets.end(), next);
    if (training_.token_dropout <= 0) continue;
    Random random(training_.seed, Stream::kTokenDropout, sample);
    int32_t* ids = executor.input("ids").i32() + row * config_.context;
    for (size_t i = 0; i < written.inputs.size(); ++i) {
      const double draw = random.uniform();
      const uint64_t item = 1 + random.below(static_cast<uint64_t>(config_.vocabulary - 1));
      if (draw < training_.token_dropout) ids[i] = static_cast<int32_t>(item);
    }
  }
  if (training_.candidates > 0) fill_candidates(first, executor);
}

/// Targets become places among the candidates: first the targets of the step, in the order in which
/// they stand, then items drawn evenly among the others.
void ItemProblem::fill_candidates(uint64_t first, graph::Executor& executor) {
  const TensorView targets = executor.input("targets");
  int32_t* candidates = executor.input("candidates").i32();
  float* bias = executor.input("candidate_bias").f32();
  int64_t count = 0, positions = 0;
  const auto place = [&](int32_t item) {
    int32_t& at = place_of_[static_cast<size_t>(item)];
    if (at < 0) {
      at = static_cast<int32_t>(count);
      candidates[count++] = item;
    }
    return at;
  };
  for (int64_t i = 0; i < targets.shape().elements(); ++i) {
    int32_t& target = targets.i32()[i];
    if (target < 0) continue;
    target = place(target);
    ++positions;
  }
  const auto items = static_cast<double>(config_.vocabulary - 1);
  const double drawn =
      static_cast<double>(training_.candidates - count) / (items - static_cast<double>(count));
  Random random(training_.seed, Stream::kSampling, first);
  while (count < training_.candidates)
    place(static_cast<int32_t>(1 + random.below(static_cast<uint64_t>(config_.vocabulary - 1))));
  double total = 0;
  for (const uint64_t taken : training_.counts) total += static_cast<double>(taken);
  for (int64_t i = 0; i < count; ++i) {
    const auto item = static_cast<size_t>(candidates[i]);
    const double share = static_cast<double>(training_.counts[item - 1]) / total;
    const double missed = std::pow(1 - share, static_cast<double>(positions)) * (1 - drawn);
    bias[i] = static_cast<float>(-std::log(1 - missed));
    place_of_[item] = -1;
  }
}

uint64_t ItemProblem::evaluation_samples(Part part) const {
  return part == Part::kTrain ? windows_.size() : validated_.size();
}

/// One target a row, the last: of a window, or what comes after the training part.
int64_t ItemProblem::fill_evaluation(Part part, uint64_t first, uint64_t stride,
                                     graph::Executor& executor) {
  int64_t counted = 0;
  const int64_t rows = executor.input("ids").shape()[0];
  for (int64_t row = 0; row < rows; ++row) {
    const uint64_t sample = first + static_cast<uint64_t>(row) * stride;
    uint32_t user = 0;
    Range range;
    if (sample >= evaluation_samples(part)) {
      // Nothing counts.
    } else if (part == Part::kTrain) {
      user = windows_[sample].user;
      range = range_of(windows_[sample], 0);
    } else {
      user = validated_[sample];
      const int64_t place = log_.split.parts[user].validation;
      range.targets = std::min(place, config_.context);
      range.begin = place - range.targets;
    }
    const Written written = write_inputs(user, range, row, executor);
    const bool counts = !written.targets.empty();
    executor.input("rows").i32()[row] =
        counts ? static_cast<int32_t>(written.targets.size() - 1) : 0;
    executor.input("targets").i32()[row] =
        counts ? static_cast<int32_t>(written.targets.back()) : -1;
    counted += counts ? 1 : 0;
  }
  return counted;
}

}  // namespace quern::task
