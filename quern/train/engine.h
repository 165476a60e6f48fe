#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "quern/base/thread_pool.h"
#include "quern/graph/plan.h"
#include "quern/graph/store.h"
#include "quern/task/problem.h"
#include "quern/train/checkpoint.h"
#include "quern/train/optimizer.h"

namespace quern::train {

struct EngineOptions {
  int64_t batch = 12;      // samples of one optimizer step
  int64_t accumulate = 1;  // parts in which they are run; divides batch
  OptimizerOptions optimizer;
  uint64_t seed = 1;
  kernels::cuda::Gpu* gpu = nullptr;  // null: the processor trains
};

/// Mean loss of a target, and over how many.
struct Evaluation {
  double loss = 0;
  int64_t targets = 0;
  bool whole = true;  // every sample of the part, not a fixed selection
};

/// Memory that training asks for, before anything is made.
struct MemoryNeed {
  size_t parameters = 0;   // values, gradients, the best so far
  size_t optimizer = 0;    // moments, average
  size_t activations = 0;  // of the training and the evaluation plan
  size_t total() const { return parameters + optimizer + activations; }
};
MemoryNeed memory_need(const task::Problem& problem, const EngineOptions& options);

/// A model being trained on a problem: parameters, plans, optimizer. Knows steps, not time. What a
/// step does follows from its number alone, so a resumed run repeats it to the bit.
class Engine {
 public:
  /// The problem and the GPU must outlive the engine. Throws Error("out_of_memory") before anything
  /// is made where the GPU has less memory free than training needs.
  Engine(task::Problem& problem, const EngineOptions& options, ThreadPool& pool);

  /// One optimizer step over `batch` samples; returns the mean loss of its targets.
  double step(int64_t step, double learning_rate);
  float gradient_norm() const { return optimizer_.gradient_norm(); }
  /// Runs forward and backward without changing anything but gradients: what a step costs.
  void rehearse();

  /// Over the whole part, or where it has more than `limit` samples, over about that many at equal
  /// distances; with the averaged weights where there are any.
  Evaluation evaluate(task::Part part, uint64_t limit = 0);

  /// Takes the present weights (averaged where averaging is on) as the best so far.
  void keep_best();
  /// Makes the best the present weights. Not for going on with training.
  void restore_best();

  /// All that a checkpoint holds.
  std::vector<NamedTensor> tensors();

  task::Problem& problem() { return problem_; }
  graph::ParameterStore& parameters() { return parameters_; }
  int64_t samples_per_step() const { return options_.batch; }
  /// Of the first step; samples may differ in their targets.
  int64_t targets_per_step() const { return targets_per_step_; }
  double steps_per_epoch() const;
  double flops_per_step() const;
  size_t planned_bytes() const;
  size_t allocated_bytes() const;

 private:
  double run_step(uint64_t first_sample, int64_t step);
  void fill_part(uint64_t first_sample, int64_t part);

  task::Problem& problem_;
  EngineOptions options_;
  int64_t targets_per_step_ = 0;
  graph::ParameterStore parameters_;
  graph::StateStore states_;
  std::unique_ptr<graph::Executor> train_;
  std::unique_ptr<graph::Executor> evaluate_;
  Optimizer optimizer_;
  std::vector<float> best_;
  // The first sample of the part whose inputs stand in train_ already; none: -1.
  int64_t filled_ = -1;
};

}  // namespace quern::train
