#pragma once

#include "quern/explain/estimate.h"
#include "quern/explain/evaluator.h"
#include "quern/explain/partition_tree.h"

namespace quern::explain {

/// Owen values over a binary tree (Owen 1977; the recursion of shap's partition explainer): a
/// node's worth is split between its halves, in the context where the other half is absent and in
/// that where it is present. Contexts are taken up by falling weighted worth; where the evaluations
/// end, a group's worth is shared evenly and the note says how large such groups are. A balanced
/// tree takes 2 (players² - 1) / 3 evaluations to the end. Deterministic: nothing is sampled.
Attribution owen(Evaluator& evaluator, const PartitionTree& tree);

}  // namespace quern::explain
