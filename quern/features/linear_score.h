#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "quern/base/file.h"
#include "quern/features/linear_features.h"

namespace quern::features {

/// What weights (width + 1, outputs), the intercepts last, say of rows: (rows, outputs).
std::vector<float> linear_scores(const SparseRows& rows, std::span<const float> weights,
                                 int64_t outputs);

/// A fitted linear model of the target, as a feature: its scores are what the transformer's answer
/// starts from.
struct LinearScore {
  LinearFeatures features;
  int64_t outputs = 1;
  std::vector<float> weights;  // (width + 1, outputs), the intercepts last

  /// (rows, outputs): logits of the classes, or standardised values.
  std::vector<float> scores(const SparseRows& rows) const;
  std::vector<float> scores(const ColumnEncoder& columns, const EncodedRows& rows) const;

  void save(const fs::path& file) const;
  /// Throws IoError, and FormatError where the file does not fit columns and outputs.
  static LinearScore load(const fs::path& file, const ColumnEncoder& columns, int64_t outputs);
};

}  // namespace quern::features
