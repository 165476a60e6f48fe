#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "quern/base/thread_pool.h"
#include "quern/graph/plan.h"
#include "quern/graph/store.h"
#include "quern/model/model_config.h"
#include "quern/task/text_windows.h"
#include "quern/train/checkpoint.h"
#include "quern/train/optimizer.h"

namespace quern::train {

struct EngineOptions {
  int64_t batch = 12;      // windows of one optimizer step
  int64_t accumulate = 1;  // parts in which they are run; divides batch
  OptimizerOptions optimizer;
  double token_dropout = 0;
  uint64_t seed = 1;
};

/// Mean negative log-likelihood in nats a token, and over how many.
struct Evaluation {
  double loss = 0;
  int64_t targets = 0;
  bool whole = true;  // every window of the stream, not a fixed part of them
};

/// Memory that training asks for, before anything is made.
struct MemoryNeed {
  size_t parameters = 0;   // values, gradients, the best so far
  size_t optimizer = 0;    // moments, average
  size_t activations = 0;  // of the training and the evaluation plan
  size_t total() const { return parameters + optimizer + activations; }
};
MemoryNeed memory_need(const model::ModelConfig& config, const EngineOptions& options);

/// A model being trained on a stream of tokens: parameters, plans, optimizer. Knows steps, not
/// time. What a step does follows from its number alone, so a resumed run repeats it to the bit.
class Engine {
 public:
  Engine(const model::ModelConfig& config, const EngineOptions& options, task::TokenStream train,
         ThreadPool& pool);

  /// One optimizer step over `batch` windows; returns the mean negative log-likelihood of its
  /// targets, in nats.
  double step(int64_t step, double learning_rate);
  float gradient_norm() const { return optimizer_.gradient_norm(); }
  /// Runs forward and backward without changing anything but gradients: what a step costs.
  void rehearse();

  /// Over the whole stream, or where it has more than `limit` windows, over about that many at
  /// equal distances; with the averaged weights where there are any.
  Evaluation evaluate(const task::TokenStream& stream, uint64_t limit = 0);

  /// Takes the present weights (averaged where averaging is on) as the best so far.
  void keep_best();
  /// Makes the best the present weights. Not for going on with training.
  void restore_best();

  /// All that a checkpoint holds.
  std::vector<NamedTensor> tensors();

  const model::ModelConfig& config() const { return config_; }
  graph::ParameterStore& parameters() { return parameters_; }
  int64_t targets_per_step() const;
  double steps_per_epoch() const;
  double flops_per_step() const;
  size_t planned_bytes() const;
  size_t allocated_bytes() const;

 private:
  double run_step(uint64_t first_sample, int64_t step);

  model::ModelConfig config_;
  EngineOptions options_;
  task::TrainingWindows windows_;
  graph::ParameterStore parameters_;
  graph::StateStore states_;
  std::unique_ptr<graph::Executor> train_;
  std::unique_ptr<graph::Executor> evaluate_;
  Optimizer optimizer_;
  std::vector<float> best_;
};

}  // namespace quern::train
