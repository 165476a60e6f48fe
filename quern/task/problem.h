#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "quern/base/thread_pool.h"
#include "quern/graph/plan.h"
#include "quern/graph/store.h"

namespace quern::task {

/// What a problem's graph is traced for.
enum class Use : uint8_t {
  kTrain,     // with regularisation; inputs "loss_weight" (1) f32 and, where anything is drawn,
              // "random" (4) u32
  kEvaluate,  // without; inputs "loss_weight" where there is a loss
};

enum class Part : uint8_t { kTrain, kValidation };

/// What the trainer needs to know of a task: a model, and how samples become its inputs. A sample
/// (a window of text, a row of a table, a user's history) has a fixed number of targets; all that
/// is drawn for it follows from seed and sample index, so there is no iterator to save.
class Problem {
 public:
  virtual ~Problem() = default;

  virtual void declare(graph::ParameterStore& store) const = 0;
  virtual void initialise(graph::ParameterStore& store, uint64_t seed) const = 0;
  /// Outputs "loss" (1) and, in training, "nll": the loss of each target, 0 where it does not
  /// count.
  virtual graph::Graph trace(Use use, int64_t rows, const graph::ParameterStore& store) const = 0;

  /// Samples of one epoch.
  virtual uint64_t samples() const = 0;
  /// Targets that the samples [first, first + count) of training have: what their loss is divided
  /// by.
  virtual int64_t training_targets(uint64_t first, int64_t count) = 0;
  /// Fills the graph's inputs, row b with sample first + b of training. `random` and `loss_weight`
  /// are the engine's to fill.
  virtual void fill_training(uint64_t first, graph::Executor& executor) = 0;

  /// Samples of an evaluation of the whole part.
  virtual uint64_t evaluation_samples(Part part) const = 0;
  /// Before any sample of an evaluation is filled in.
  virtual void begin_evaluation(Part) {}
  /// Fills row b with sample first + b · stride of the part; rows past the end count nothing.
  /// Returns how many targets count.
  virtual int64_t fill_evaluation(Part part, uint64_t first, uint64_t stride,
                                  graph::Executor& executor) = 0;
  /// The sum of the losses of the targets just run.
  virtual double evaluation_loss(graph::Executor& executor);

  /// After an evaluation whose samples several ranks have divided among them: what is kept of it
  /// becomes whole in all. `sum` adds up over the ranks, in place.
  virtual void share_evaluation(FunctionRef<void(std::span<double>)>) {}

  /// What one target is, for people: "token", "row".
  virtual std::string_view unit() const = 0;
};

}  // namespace quern::task
