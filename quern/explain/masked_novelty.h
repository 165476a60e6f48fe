#pragma once

#include <cstdint>
#include <optional>

#include "quern/explain/row_parts.h"
#include "quern/metrics/interval.h"

namespace quern::explain {

/// How far the rows that hiding puts together lie from training rows: the chance that one, with
/// random columns hidden, is further from the nearest background row than a background row is from
/// the nearest other one; ½ where they are alike, 1 where all are further. The row that lends the
/// hidden values is left out of the search. Distance is the mean over features of the way over
/// training quantiles, 1 for another category and for a value that is missing on one side alone
/// (Gower 1971). 95 % by bootstrap. Nothing for fewer than two columns or three background rows.
std::optional<metrics::Interval> masked_novelty(const features::ColumnEncoder& encoder,
                                                const ExplainedRow& row,
                                                const features::EncodedRows& background,
                                                uint64_t seed);

}  // namespace quern::explain
