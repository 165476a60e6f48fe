#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace quern::explain {

/// The factor L (n, n) of a symmetric positive definite A = L Lᵀ.
class Cholesky {
 public:
  /// `a` (n, n), row by row; its lower triangle is read. Throws an Error where A is not positive
  /// definite.
  Cholesky(std::vector<double> a, size_t n);

  size_t size() const { return n_; }
  /// x of L x = b, in place.
  void solve_lower(std::span<double> b) const;
  /// x of A x = b, in place.
  void solve(std::span<double> b) const;
  double log_determinant() const;  // of A
  /// The diagonal of A⁻¹.
  std::vector<double> inverse_diagonal() const;

 private:
  size_t n_;
  std::vector<double> l_;
};

}  // namespace quern::explain
