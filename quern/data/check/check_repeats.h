#pragma once

#include "quern/data/check/checking.h"

namespace quern::data {

/// Rows that repeat an earlier one in all but the target, and those among them that contradict it.
void find_repeats(Checking& checking);

/// Texts of each text column that nearly repeat an earlier one.
void find_near_repeats(Checking& checking);

}  // namespace quern::data
