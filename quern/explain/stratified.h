#pragma once

#include "quern/explain/estimate.h"
#include "quern/explain/evaluator.h"

namespace quern::explain {

/// Mean contribution of each player to coalitions of each size, sampled apart and averaged over
/// sizes (Maleki et al. 2013; Castro, Gómez, Molina & Tejada 2017). One round asks each player at
/// each size once, 2 players² evaluations; two rounds are made at least. Nobody and everybody are
/// known, which spares the outer sizes half. Not complete: the completeness error is what sampling
/// leaves.
Attribution stratified(Evaluator& evaluator, const EstimateOptions& options);

}  // namespace quern::explain
