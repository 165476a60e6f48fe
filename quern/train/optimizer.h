#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quern/base/thread_pool.h"
#include "quern/graph/plan.h"
#include "quern/graph/store.h"
#include "quern/train/shards.h"

namespace quern::train {

struct OptimizerOptions {
  bool muon = false;  // for matrices of layers; AdamW takes the rest
  float beta1 = 0.9F, beta2 = 0.95F, epsilon = 1e-8F;
  float weight_decay = 0.1F;  // matrices and embedding tables; never biases and norms
  float muon_momentum = 0.95F;
  float clip = 1;  // largest norm of the whole gradient; 0: none
  float ema = 0;   // decay of the averaged weights, from step t (1 + t) / (10 + t) at most; 0: none
};

/// What an optimizer steps over: the run of the parameter arena that it owns, and where the norm of
/// the gradient comes from.
struct OptimizerShare {
  Shards::Range owned;      // of matrices that Muon takes, all or nothing
  bool norm_given = false;  // the norm of the whole gradient is handed to step()

  static OptimizerShare all(const graph::ParameterStore& parameters) {
    return {{0, parameters.arena_floats()}, false};
  }
};

/// One optimizer step, as a graph of its own: the norm of the whole gradient, AdamW (Loshchilov &
/// Hutter 2019) a group of parameters at a time, or Muon a matrix at a time, then the average.
/// Reads the gradients of the store and updates its values in place.
class Optimizer {
 public:
  /// `parameters` must hold its gradients, and outlive the optimizer.
  Optimizer(const OptimizerOptions& options, const OptimizerShare& share,
            graph::ParameterStore& parameters, ThreadPool& pool);
  ~Optimizer();

  /// `step` counts from 0; the bias corrections are 1 - βᵗ with t = step + 1. `norm` is read where
  /// the share says that it is given.
  void step(int64_t step, double learning_rate, float norm = 0);
  /// Euclidean norm of the gradient before clipping, of the last step.
  float gradient_norm() const;

  bool averages() const { return options_.ema > 0; }
  /// Exchanges the values owned with their average: evaluate, then exchange again.
  void swap_average();
  /// Starts the average at the present values.
  void reset_average();

  /// What a checkpoint holds: moments and average, by name. The list is the same whatever is owned;
  /// `values` are those from `begin` on of `count`.
  struct State {
    std::string name;
    size_t count = 0, begin = 0;
    std::span<float> values;
  };
  std::vector<State> states() const;

  size_t allocated_bytes() const;
  /// What a step needs beyond parameters and gradients, without making it.
  static size_t planned_bytes(const OptimizerOptions& options, const OptimizerShare& share,
                              const graph::ParameterStore& parameters,
                              DeviceKind device = DeviceKind::kCpu);

 private:
  std::span<float> owned_values() const;
  std::span<float> state(const std::string& name) const;  // empty where nothing is owned

  OptimizerOptions options_;
  OptimizerShare share_;
  graph::ParameterStore& parameters_;
  graph::StateStore states_;
  std::unique_ptr<graph::Executor> executor_;
};

}  // namespace quern::train
