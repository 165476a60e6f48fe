#pragma once

#include "quern/explain/estimate.h"
#include "quern/explain/evaluator.h"

namespace quern::explain {

/// Mean contribution along random orders, each walked forward and in reverse (Castro, Gómez &
/// Tejada 2009; antithetic pairs after Mitchell et al. 2022, section 4.1): exact for games whose
/// interactions are of order two at most, and complete by construction. Each case of the game walks
/// orders of its own (Štrumbelj & Kononenko 2014, "Explaining prediction models and individual
/// predictions with feature contributions"): as many evaluations draw cases() times as many orders,
/// and since every case is asked equally often, only orders are left to chance. A pair of walks in
/// every case costs 2 (players - 1) evaluations; two pairs are made at least, for a standard error
/// with degrees of freedom after Welch (1947).
Attribution permutation(Evaluator& evaluator, const EstimateOptions& options);

}  // namespace quern::explain
