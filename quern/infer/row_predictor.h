#pragma once

#include <memory>
#include <vector>

#include "quern/base/thread_pool.h"
#include "quern/graph/plan.h"
#include "quern/graph/store.h"
#include "quern/task/rows.h"

namespace quern::infer {

/// An encoder at work: rows in, answers out, in batches. Its plans are made once.
class RowPredictor {
 public:
  /// The parameters must outlive the predictor.
  RowPredictor(const model::EncoderConfig& config, graph::ParameterStore& parameters,
               ThreadPool& pool);

  /// The ensemble's answers (rows, outputs): probabilities of the classes at this temperature, or
  /// standardised values.
  std::vector<float> predict(const task::RowInputs& rows, double temperature = 1);

  size_t allocated_bytes() const;

 private:
  model::EncoderConfig config_;
  graph::StateStore states_;
  std::unique_ptr<graph::Executor> one_, many_;
};

/// Probabilities p sharpened or flattened: p^(1/T), normalised, row by row.
void apply_temperature(std::span<float> probabilities, int64_t classes, double temperature);

}  // namespace quern::infer
