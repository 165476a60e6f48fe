#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "quern/features/sparse_rows.h"

namespace quern::metrics {

using features::SparseRows;

/// A linear model with intercepts, regularised as scikit-learn's LogisticRegression and Ridge (C =
/// 1 / penalty, alpha = penalty; intercepts free): softmax regression of `outputs` classes, or
/// least squares of one value. Fitted by L-BFGS (Nocedal & Wright 2006, algorithm 7.5) to a
/// gradient of 1e-4 of the first, at most `iterations`. Deterministic.
class LinearBaseline {
 public:
  static LinearBaseline classifier(const SparseRows& rows, std::span<const int32_t> labels,
                                   size_t classes, int iterations = 200, double penalty = 1);
  static LinearBaseline regression(const SparseRows& rows, std::span<const float> targets,
                                   int iterations = 200, double penalty = 1);
  /// A support vector machine for each class against the rest, squared hinge loss times `cost`,
  /// intercepts regularised as one more feature: scikit-learn's LinearSVC with C = cost. Fitted by
  /// dual coordinate descent (Hsieh et al. 2008, algorithm 1) until projected gradients span less
  /// than 0.001.
  static LinearBaseline support_vectors(const SparseRows& rows, std::span<const int32_t> labels,
                                        size_t classes, double cost = 1);

  /// Without the softmax of classes (rows, outputs).
  std::vector<float> scores(const SparseRows& rows) const;

  /// Probabilities (rows, classes), or values (rows).
  std::vector<float> predict(const SparseRows& rows) const;
  std::span<const double> weights() const { return weights_; }  // (width + 1, outputs)

 private:
  size_t width_ = 0, outputs_ = 1;
  bool classes_ = false;
  std::vector<double> weights_;
};

}  // namespace quern::metrics
