#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "quern/base/progress.h"
#include "quern/data/table.h"
#include "quern/features/item_sequences.h"

namespace quern::features {

/// What the side columns say of each item: rows of one embedding table, to be added up.
struct ItemSides {
  std::vector<std::string> columns;  // those used
  int64_t rows = 0;                  // of the embedding table
  int64_t slots = 0;                 // most rows an item adds up
  std::vector<int32_t> codes;        // (items + 1, slots); -1: nothing
};

/// Columns of a table that has a row (or more; the first counts) for each item; `left_out` (names,
/// sorted) is passed over. Types are inferred over those rows. A category is one
/// row of the embedding table for each value, a number one for each of 16 quantiles, a text one for
/// each of its first 8 words that two items share; dates and what tells nothing are left out, all
/// noted with the reason. Fitted on the items that `vocabulary` has; items that only the table has
/// are added to it, with a count of 0. `columns` empty: all but `item_column`. Throws UsageError: a
/// column that is not there; Error("no_item_columns"): none that tells anything.
ItemSides make_item_sides(const data::Table& table, const std::string& item_column,
                          const std::vector<std::string>& columns,
                          std::span<const std::string> left_out, ItemVocabulary& vocabulary,
                          Reporter& reporter);

}  // namespace quern::features
