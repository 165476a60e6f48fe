#pragma once

#include "quern/data/check/checking.h"

namespace quern::data {

/// The target's balance, and columns that all but give it away (severe), or are as strong alone
/// that a person must say whether they are known when the model is asked (a note).
void check_target(Checking& checking);

}  // namespace quern::data
