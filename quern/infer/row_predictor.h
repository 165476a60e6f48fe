#pragma once

#include <vector>

#include "quern/base/thread_pool.h"
#include "quern/graph/plan_cache.h"
#include "quern/graph/store.h"
#include "quern/task/rows.h"

namespace quern::infer {

/// An encoder at work: rows in, answers out, in batches. A plan is made for the first batch of its
/// size, sizes being few; what is left of a batch runs in the smallest plan that holds it.
class RowPredictor {
 public:
  /// The parameters must outlive the predictor.
  RowPredictor(const model::EncoderConfig& config, graph::ParameterStore& parameters,
               ThreadPool& pool);

  /// The ensemble's answers (rows, outputs): probabilities of the classes at this temperature, or
  /// standardised values.
  std::vector<float> predict(const task::RowInputs& rows, double temperature = 1);
  /// The same, all of it in one plan of kFixedBatch rows: a row's answer has the same bits whatever
  /// is asked beside it.
  std::vector<float> predict_fixed(const task::RowInputs& rows, double temperature = 1);
  static constexpr int64_t kFixedBatch = 128;

  /// Of the plans made so far.
  size_t allocated_bytes() const { return plans_.bytes(); }

 private:
  graph::Executor& executor_for(int64_t batch);
  std::vector<float> run(const task::RowInputs& rows, double temperature, int64_t fixed_batch);

  model::EncoderConfig config_;
  graph::ParameterStore& parameters_;
  ThreadPool& pool_;
  graph::StateStore states_;
  graph::PlanCache plans_;
};

/// Probabilities p sharpened or flattened: p^(1/T), normalised, row by row.
void apply_temperature(std::span<float> probabilities, int64_t classes, double temperature);

}  // namespace quern::infer
