#pragma once

#include <cstdint>

#include "quern/explain/attribution.h"
#include "quern/explain/estimate.h"
#include "quern/explain/row_game.h"
#include "quern/explain/row_parts.h"

namespace quern::explain {

/// LIME of a row of columns, each varied by what the background rows hold: numbers by quartiles, a
/// date by those of its days, categories by frequency. The rows are asked together; `answered`
/// grows by them. Throws UsageError("other_method") for a row that holds a text or a picture beside
/// its columns, and Error("no_background").
Attribution lime_columns(const run::RowRun& run, infer::RowPredictor& predictor,
                         const ExplainedRow& row, const features::EncodedRows& background,
                         RowTarget target, const EstimateOptions& options, uint64_t& answered);

/// How columns are varied, for people.
std::string lime_columns_policy(const features::EncodedRows& background);

}  // namespace quern::explain
