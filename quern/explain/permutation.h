#pragma once

#include "quern/explain/estimate.h"
#include "quern/explain/evaluator.h"

namespace quern::explain {

/// Mean contribution along random orders, each walked forward and in reverse (Castro, Gómez &
/// Tejada 2009; antithetic pairs after Mitchell et al. 2022, section 4.1): exact for games whose
/// interactions are of order two at most, and complete by construction. A pair of walks costs
/// 2 (players - 1) evaluations; two pairs are made at least, for a standard error.
Attribution permutation(Evaluator& evaluator, const EstimateOptions& options);

}  // namespace quern::explain
