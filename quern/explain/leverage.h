#pragma once

#include "quern/explain/estimate.h"
#include "quern/explain/evaluator.h"

namespace quern::explain {

/// Players and complement pairs up to which the regression of `leverage` is worth its time.
inline constexpr size_t kLeveragePlayers = 200, kLeveragePairs = 1024;

/// Coalitions drawn in complement pairs, without replacement, every size equally often, which is by
/// their leverage in the regression whose solution the Shapley values are (Musco & Witter 2024,
/// "Provably accurate Shapley value estimation via leverage score sampling"). The linear fit of
/// that paper is replaced by one that also sees interactions, in the spirit of regression-adjusted
/// Monte Carlo (Witter, Liu & Musco 2025): Gaussian process regression under CubeKernel, its
/// roughness by marginal likelihood. phi is the posterior mean, which is complete; standard errors
/// are posterior deviations. All coalitions asked, the answer is exact.
Attribution leverage(Evaluator& evaluator, const EstimateOptions& options);

}  // namespace quern::explain
