#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace quern::report {

/// Counts by row and column of the same names, as a confusion matrix.
struct MatrixPlot {
  std::string title;
  std::string row_label, column_label;
  std::vector<std::string> names;
  std::vector<uint64_t> counts;  // (names, names)
};

/// A self-contained SVG element: one cell a pair, the darker the greater its share of its row, its
/// count within. Throws std::invalid_argument where the counts are not names × names.
std::string to_svg(const MatrixPlot& plot);

}  // namespace quern::report
