#pragma once

#include "quern/data/check/checking.h"

namespace quern::data {

/// Column by column: missing, unreadable, constant and identifying values, outliers, dates out of
/// order or range, categories, and texts; fills each column's frequencies.
void check_columns(Checking& checking);

/// Counts the values of a column into its frequencies, the commonest first.
void count_categories(Checking& checking, size_t column);

}  // namespace quern::data
