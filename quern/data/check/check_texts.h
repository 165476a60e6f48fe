#pragma once

#include "quern/data/check/checking.h"

namespace quern::data {

/// Lengths and scripts of a text column, and damage: characters lost or doubly encoded, control
/// characters.
void check_texts(Checking& checking, size_t column);

}  // namespace quern::data
