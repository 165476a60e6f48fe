#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace quern::features {

/// Rows of a few values among many features.
struct SparseRows {
  size_t width = 0;                    // features
  std::vector<uint64_t> begins = {0};  // (rows + 1)
  std::vector<uint32_t> columns;
  std::vector<float> values;

  size_t rows() const { return begins.size() - 1; }
  void add(uint32_t column, float value) {
    columns.push_back(column);
    values.push_back(value);
  }
  void end_row() { begins.push_back(columns.size()); }
  /// These rows alone, in this order.
  SparseRows select(std::span<const size_t> indices) const {
    SparseRows out;
    out.width = width;
    for (const size_t row : indices) {
      for (uint64_t i = begins[row]; i < begins[row + 1]; ++i) out.add(columns[i], values[i]);
      out.end_row();
    }
    return out;
  }
};

}  // namespace quern::features
