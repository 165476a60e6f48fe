#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "quern/data/table.h"
#include "quern/explain/partition_tree.h"
#include "quern/run/row_run.h"
#include "quern/task/hiding.h"
#include "quern/task/rows.h"

namespace quern::explain {

/// A part of a row that can be hidden: a column, a word of its text, a patch of its picture.
struct RowPart {
  enum class Kind : uint8_t { kColumn, kWord, kPatch };
  Kind kind = Kind::kColumn;
  std::string name, value;
  std::vector<size_t> numbers, categories;  // of a column: the features it gives
  size_t word = 0;                          // index into ExplainedRow::words
  std::vector<uint32_t> pixels;             // of a patch: indices into (height · width)
};

/// One row taken apart; words that the model cannot see are no parts.
struct ExplainedRow : task::WordedText {
  task::RowInputs inputs;  // of this row alone
  std::vector<RowPart> parts;
};

struct PartOptions {
  int64_t patches = task::kPatches;  // of a picture's longer side
  size_t segments = 0;  // superpixels of like colour in place of patches: about so many
};

/// How the parts group: words by their place in the text, patches by their place in the picture;
/// columns apart. Nothing for a row of columns alone, whose parts have no place.
std::optional<PartitionTree> tree_of(const ExplainedRow& row, const PartOptions& options);

/// Takes a row apart. Throws what reading it throws, and Error("empty_text") where a text is all
/// there is and it is empty.
ExplainedRow take_row(const run::RowRun& run, const data::Table& table, size_t row,
                      const PartOptions& options);

}  // namespace quern::explain
