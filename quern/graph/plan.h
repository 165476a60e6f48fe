#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "quern/base/thread_pool.h"
#include "quern/graph/graph.h"
#include "quern/graph/store.h"
#include "quern/tensor/device.h"

namespace quern::graph {

/// A watch on one layer, decided when the plan is made. For Tap::kResidual `data` is (B,T,C); for
/// Tap::kAttention it is called once a head asked for, with the weights (T,S) of that (batch row,
/// head).
struct Observation {
  int32_t layer = 0;
  Tap tap = Tap::kResidual;
  std::vector<int> heads{};  // kAttention; empty: all
  std::function<void(int32_t layer, int64_t batch, int64_t head, TensorView data)> observe{};
};

struct PlanOptions {
  bool backward = false;  // add the backward pass of output "loss"
  std::vector<Value>
      wrt{};  // gradients wanted of these inputs or computed values, besides all parameters
  bool parameter_gradients = true;
  std::vector<Observation> observe{};
  /// For each node, whether backward runs it again rather than keep its outputs; empty: none.
  std::vector<bool> recompute{};
  /// The values do not change while the executor lives, so that their copy in BF16 is made once,
  /// not before each run.
  bool fixed_parameters = false;
  /// The copy in BF16 is rounded up or down with probabilities that make its mean the value, by the
  /// graph's input "random"; else to nearest.
  bool stochastic_rounding = false;
  bool trace_nan =
      false;  // after each kernel, throw Error naming op, layer, shapes, parents on the first NaN
  bool reference = false;  // run the references instead of the kernels: tests only
};

/// Bytes of each arena. What is planned is what is allocated.
struct PlanBytes {
  size_t activations = 0;  // with gradients of activations, inputs and outputs
  size_t scratch = 0;
  size_t constants = 0;
  size_t staging = 0;  // on a GPU: where inputs land, and the gradient that backward begins with
  size_t total() const { return activations + scratch + constants + staging; }
};

/// A graph laid out in memory: lifetimes from what backward reads, greedy best fit into one arena.
/// Makes no tensor memory, so `quern plan` can ask for any size.
class Plan {
 public:
  Plan(Graph graph, PlanOptions options);
  ~Plan();
  Plan(Plan&&) noexcept;
  Plan& operator=(Plan&&) noexcept;

  const Graph& graph() const;
  PlanBytes bytes(DeviceKind device = DeviceKind::kCpu) const;
  double flops() const;  // one run, backward included

  struct Impl;  // internal: used by Executor
  const Impl& impl() const { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

/// A plan with its memory, ready to replay. run() allocates nothing.
class Executor {
 public:
  /// Binds parameters and states by name; allocates the arenas. Runs where the parameters stand
  /// (ParameterStore::use). The stores must outlive the executor. Throws Error("out_of_memory")
  /// before anything is made where a GPU has less memory free than the plan needs.
  Executor(Plan plan, ParameterStore& parameters, StateStore& states, ThreadPool& pool);
  ~Executor();
  Executor(Executor&&) noexcept;

  TensorView input(std::string_view name) const;   // write before each run
  TensorView output(std::string_view name) const;  // read after run()
  TensorView gradient(Value value) const;          // of a `wrt` value, after run()

  /// One replay. With accumulate, parameter gradients add to what the store holds; without, they
  /// replace it. start() and finish() are its halves: between them a GPU computes, and the caller
  /// may fill in the inputs of the next run, but read nothing.
  void run(bool accumulate = false);
  void start(bool accumulate = false);
  void finish();
  /// start(), which calls `after_step` with the number of each step of the plan: on a processor
  /// when it is done, on a GPU when it is queued. What is queued there by `after_step` becomes part
  /// of the graph that later such runs launch, which do not call it again; so it must queue the
  /// same each time.
  void start(bool accumulate, FunctionRef<void(int32_t step)> after_step);
  /// For each parameter of the store, the last step that writes its gradient; -1: none does.
  std::vector<int32_t> last_gradient_steps() const;

  const Plan& plan() const;
  size_t allocated_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quern::graph
