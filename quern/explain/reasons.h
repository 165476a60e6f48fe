#pragma once

#include <span>
#include <string>
#include <vector>

#include "quern/base/progress.h"
#include "quern/explain/explanation.h"
#include "quern/explain/game.h"
#include "quern/explain/row_parts.h"

namespace quern::explain {

/// A reason that may be given: what stands in an approved dictionary.
struct ReasonEntry {
  enum class Direction : uint8_t { kAny, kHigh, kLow };
  std::string column, code, text;
  Direction direction = Direction::kAny;
};

/// Reads a table with the columns "column", "code", "text" and, where reasons speak of values that
/// are too high or too low, "direction" (high, low or any). Throws FormatError naming the line, and
/// UsageError("unknown_column") for a column that the model does not read.
std::vector<ReasonEntry> read_reasons(const run::RowRun& run, const std::string& file,
                                      Reporter& reporter);

/// The columns that speak most for the answer, at most `count`, in the dictionary's words. A column
/// is cited only where its contribution is clear of zero, where taking its values from the
/// reference population alone moves the answer the same way, and where its value lies on the side
/// of the reference median that the entry names. What is passed over is told, with why.
ReasonReport find_reasons(Game& game, const Explanation& explanation, const ExplainedRow& row,
                          const features::EncodedRows& reference,
                          std::span<const ReasonEntry> dictionary, size_t count);

}  // namespace quern::explain
