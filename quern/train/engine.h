#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "quern/base/thread_pool.h"
#include "quern/graph/plan.h"
#include "quern/graph/recompute.h"
#include "quern/graph/store.h"
#include "quern/task/problem.h"
#include "quern/train/checkpoint.h"
#include "quern/train/gradient_exchange.h"
#include "quern/train/optimizer.h"
#include "quern/train/ranks.h"
#include "quern/train/unit_squares.h"

namespace quern::train {

struct EngineOptions {
  int64_t batch = 12;      // samples of one optimizer step, over all ranks
  int64_t accumulate = 1;  // parts in which one rank runs them; divides batch
  OptimizerOptions optimizer;
  uint64_t seed = 1;
  bool exact = false;                 // the same bits whatever the number of ranks
  graph::Recompute recompute;         // what backward makes again rather than keep
  kernels::cuda::Gpu* gpu = nullptr;  // null: the processor trains
};

/// How the samples of a step are dealt out: equal leaves in the order of the samples, to each rank
/// the same number of neighbouring ones, run one after the other.
struct Leaves {
  int64_t rows = 1;   // samples of a leaf
  int64_t each = 1;   // leaves of a rank
  int64_t total = 1;  // of a step
};
/// Exact: the leaves, and so what each adds up, follow from the options alone. Throws UsageError
/// when so many ranks cannot share the batch.
Leaves divide_step(const EngineOptions& options, int ranks);

/// Mean loss of a target, and over how many.
struct Evaluation {
  double loss = 0;
  int64_t targets = 0;
  bool whole = true;  // every sample of the part, not a fixed selection
};

/// Memory that training asks of what trains, the processor's or the GPU's, before anything is made.
struct MemoryNeed {
  size_t parameters = 0;   // values, gradients; on a processor the best so far, too
  size_t exchange = 0;     // gradients on their way between ranks, or waiting to be added exactly
  size_t optimizer = 0;    // moments, average
  size_t activations = 0;  // of the training and the evaluation plan
  size_t total() const { return parameters + exchange + optimizer + activations; }
};
/// Of rank `rank` of so many.
MemoryNeed memory_need(const task::Problem& problem, const EngineOptions& options, int rank = 0,
                       int ranks = 1);

/// Decides what to recompute so that no more than `budget` bytes are needed: nothing where that
/// fits, else what costs the least extra time; everything where even that does not. Returns the
/// need.
MemoryNeed fit_memory(const task::Problem& problem, EngineOptions& options, size_t budget,
                      int rank = 0, int ranks = 1);

/// A model being trained on a problem: parameters, plans, optimizer. Knows steps, not time. What a
/// step does follows from its number alone, so a resumed run repeats it to the bit. With ranks,
/// every rank has an engine, holds all values, and calls the same functions in the same order; the
/// optimizer's state is dealt out.
class Engine {
 public:
  /// The problem, the pool, the ranks and the GPU must outlive the engine. Throws
  /// Error("out_of_memory") before anything is made where the GPU has less memory free than
  /// training needs.
  Engine(task::Problem& problem, const EngineOptions& options, ThreadPool& pool, Ranks& ranks);

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

  /// All that a checkpoint holds, as far as this rank has it.
  std::vector<NamedTensor> tensors();
  /// Whether gradients() of the store holds all of the last step's, rather than this rank's share.
  bool has_whole_gradient() const { return ranks_.size() == 1; }

  task::Problem& problem() { return problem_; }
  Ranks& ranks() { return ranks_; }
  graph::ParameterStore& parameters() { return parameters_; }
  /// Takes the values of parameters trained before, and their averages from there.
  void take_values(const graph::ParameterStore& trained);
  int64_t samples_per_step() const { return options_.batch; }
  /// Of the first step; samples may differ in their targets.
  int64_t targets_per_step() const { return targets_per_step_; }
  double steps_per_epoch() const;
  double flops_per_step() const;
  size_t planned_bytes() const;
  size_t allocated_bytes() const;

 private:
  double run_step(uint64_t first_sample, int64_t step);
  void fill_leaf(uint64_t first);
  void draw(int64_t leaf, int64_t step);
  double run_leaf(int64_t leaf, uint64_t first_sample, int64_t step);
  uint64_t sample_after(int64_t leaf, uint64_t first_sample) const;
  void keep_partial_sum(int64_t leaf);
  float norm_of_all() const;
  void share_values();
  void swap_average();
  std::span<float> owned_values() const;
  std::span<float> best() const;

  task::Problem& problem_;
  EngineOptions options_;
  Ranks& ranks_;
  Leaves leaves_;
  int64_t targets_per_step_ = 0;
  graph::ParameterStore parameters_;
  graph::StateStore states_;
  std::unique_ptr<graph::Executor> train_;
  std::unique_ptr<graph::Executor> evaluate_;
  Shards shards_;
  Optimizer optimizer_;
  std::optional<UnitSquares> squares_;          // where the norm is not the optimizer's to take
  std::unique_ptr<GradientExchange> exchange_;  // null: alone
  std::vector<Buffer> partial_sums_;            // exact: of 1, 2, 4 … leaves
  ThreadPool& pool_;
  Buffer best_;  // of what this rank owns; the host's
  // Where the next samples stand in train_ already, the first of them.
  std::optional<uint64_t> filled_ahead_;
  int64_t rehearsals_ = 0;
};

}  // namespace quern::train
