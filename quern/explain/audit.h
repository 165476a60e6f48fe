#pragma once

#include <cstdint>
#include <span>

#include "quern/explain/attribution.h"
#include "quern/explain/faithfulness.h"
#include "quern/explain/game.h"
#include "quern/graph/store.h"
#include "quern/model/model_config.h"

namespace quern::explain {

/// Checks of an explanation that need more evaluations than finding it.
struct Audit {
  bool asked = false;
  Faithfulness faithfulness;  // of the players, those that raise the value most first
  /// The rank correlation (Spearman) of the sizes of contributions with those of the same model
  /// with random weights (Adebayo et al. 2018): near 1 where the explanation does not depend on
  /// what was learnt.
  double randomised_correlation = 0;
};

/// `randomised`: the same question asked of the model with random weights.
Audit audit(Game& game, const Attribution& attribution, const Attribution& randomised);

/// Random weights for a decoder of this configuration, where those of the run stand.
graph::ParameterStore untrained(const model::ModelConfig& config, kernels::cuda::Gpu* gpu,
                                uint64_t seed);

/// Spearman's, equal values sharing their mean rank; 0 where either side is constant.
double rank_correlation(std::span<const double> a, std::span<const double> b);

}  // namespace quern::explain
