#pragma once

#include "quern/explain/estimate.h"
#include "quern/explain/evaluator.h"

namespace quern::explain {

/// KernelSHAP (Lundberg & Lee 2017, theorem 2): weighted least squares of the value on who takes
/// part, under the constraint that the contributions add up. Sizes are asked whole, from the
/// outside in, as far as the evaluations go; the rest is drawn in complement pairs by the kernel's
/// weight (players - 1) / (size (players - size)). Standard errors are those of a ratio-adjusted
/// sample mean over the pairs drawn. All coalitions asked, the answer is exact.
Attribution kernel_shap(Evaluator& evaluator, const EstimateOptions& options);

/// The share of each size 1 … players - 1 in the kernel's weight.
std::vector<double> kernel_size_mass(size_t players);

}  // namespace quern::explain
