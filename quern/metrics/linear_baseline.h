#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace quern::metrics {

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
};

/// A linear model with intercepts, regularised as scikit-learn's LogisticRegression and Ridge
/// (C = alpha = 1; intercepts free): softmax regression of `outputs` classes, or least squares of
/// one value. Fitted by L-BFGS (Nocedal & Wright 2006, algorithm 7.5) to a gradient of 1e-4 of the
/// first, at most `iterations`. Deterministic.
class LinearBaseline {
 public:
  static LinearBaseline classifier(const SparseRows& rows, std::span<const int32_t> labels,
                                   size_t classes, int iterations = 200);
  static LinearBaseline regression(const SparseRows& rows, std::span<const float> targets,
                                   int iterations = 200);

  /// Probabilities (rows, classes), or values (rows).
  std::vector<float> predict(const SparseRows& rows) const;
  std::span<const double> weights() const { return weights_; }  // (outputs, width + 1)

 private:
  size_t width_ = 0, outputs_ = 1;
  bool classes_ = false;
  std::vector<double> weights_;
};

}  // namespace quern::metrics
