#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "quern/explain/explanation.h"
#include "quern/explain/row_parts.h"
#include "quern/infer/row_predictor.h"

namespace quern::explain {

struct CounterfactualOptions {
  std::vector<std::string> permitted;  // columns; empty: all
  std::string wanted;                  // a class; empty: any other than the present one
  size_t most_changes = 4;
};

/// The smallest change of permitted columns that changes the decision: fewest columns first, then
/// the shortest way over training quantiles (a category counts half of a number's whole range).
/// Beam search over the knots and categories that training saw; numbers are then moved back towards
/// their own value as far as the decision holds. Not found is an answer. Throws
/// UsageError("unknown_column"), ("no_decision") for a run that predicts a number.
Counterfactual find_counterfactual(const run::RowRun& run, infer::RowPredictor& predictor,
                                   const ExplainedRow& row, const CounterfactualOptions& options);

}  // namespace quern::explain
