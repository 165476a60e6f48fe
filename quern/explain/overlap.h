#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "quern/explain/drift.h"

namespace quern::explain {

/// Rows of one set that stand in another, by the columns that a model reads.
struct Overlap {
  size_t rows = 0;   // looked at
  size_t exact = 0;  // agree in every column
  size_t near = 0;   // agree in all columns but one; 0 for fewer than four columns, where they must
  std::string example;  // where the first exact one stands, and its twin
};
Overlap overlap(const std::vector<std::string>& columns, const RowsOf& known,
                const RowsOf& looked_at);

}  // namespace quern::explain
