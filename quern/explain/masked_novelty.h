#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "quern/explain/row_game.h"
#include "quern/explain/row_parts.h"
#include "quern/metrics/interval.h"
#include "quern/run/row_run.h"

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

/// The same of texts and pictures, by what the model's head sees of them: `represented` holds the
/// training rows that training kept, (rows, representation_width()).
std::optional<metrics::Interval> masked_novelty(run::RowRun& run, ThreadPool& pool, RowGame& game,
                                                const ExplainedRow& row,
                                                std::span<const float> represented, uint64_t seed);

/// The chance that a masked row is further from the nearest known row than a known row is from the
/// nearest other one. Rows are (rows, width); distance is Euclidean between rows of length 1
/// (nearest neighbours on deep features, Sun et al. 2022). Known rows that are `own` are left out.
/// Nothing for fewer than three others.
std::optional<metrics::Interval> represented_novelty(std::span<const float> known,
                                                     std::span<const float> masked,
                                                     std::span<const float> own, uint64_t seed);

/// What training kept for `represented`; empty where it kept none. Throws FormatError.
std::vector<float> read_represented(const run::RowRun& run);

}  // namespace quern::explain
