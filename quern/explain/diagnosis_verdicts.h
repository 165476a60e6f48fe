#pragma once

#include "quern/explain/diagnosis.h"

namespace quern::explain {

/// From this area on, a training row is told from another too well: the model overfits.
inline constexpr double kOverfitArea = 0.65;
/// Held-out rows in training from which on their scores are worth little.
inline constexpr double kLeakedShare = 0.01;

/// Fills `overfit` and `verdicts` from the evidence.
void judge(Diagnosis& diagnosis);

}  // namespace quern::explain
