#pragma once

#include <span>

#include "quern/explain/row_game.h"

namespace quern::explain {

/// The number explained of one row, from the logits (answers, outputs) of all members of the
/// ensemble, and its gradient with respect to them. In double precision: RowTarget::of of the
/// averaged, tempered answer.
double answer_gradient(const run::RowPipeline& pipeline, RowTarget target, size_t outputs,
                       std::span<const float> logits, std::span<double> gradient);

}  // namespace quern::explain
