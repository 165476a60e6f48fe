#include "quern/explain/cholesky.h"

#include <cmath>
#include <utility>

#include "quern/base/error.h"

namespace quern::explain {
namespace {

/// Four chains of sums, met in a fixed order: as fast as the compiler's vectors without leave to
/// reorder.
double dot(const double* a, const double* b, size_t n) {
  double s[4] = {0, 0, 0, 0};
  size_t i = 0;
  for (; i + 4 <= n; i += 4) {
    for (size_t lane = 0; lane < 4; ++lane) s[lane] += a[i + lane] * b[i + lane];
  }
  for (; i < n; ++i) s[0] += a[i] * b[i];
  return (s[0] + s[1]) + (s[2] + s[3]);
}

}  // namespace

Cholesky::Cholesky(std::vector<double> a, size_t n) : n_(n), l_(std::move(a)) {
  for (size_t row = 0; row < n; ++row) {
    double* of_row = l_.data() + row * n;
    for (size_t column = 0; column < row; ++column) {
      const double* of_column = l_.data() + column * n;
      of_row[column] = (of_row[column] - dot(of_row, of_column, column)) / of_column[column];
    }
    const double pivot = of_row[row] - dot(of_row, of_row, row);
    if (!(pivot > 0)) {
      throw Error("singular", "a system of equations has no single answer",
                  "ask for more evaluations");
    }
    of_row[row] = std::sqrt(pivot);
  }
}

void Cholesky::solve_lower(std::span<double> b) const {
  for (size_t row = 0; row < n_; ++row) {
    const double* of_row = l_.data() + row * n_;
    b[row] = (b[row] - dot(of_row, b.data(), row)) / of_row[row];
  }
}

void Cholesky::solve(std::span<double> b) const {
  solve_lower(b);
  for (size_t row = n_; row-- > 0;) {
    b[row] /= l_[row * n_ + row];
    for (size_t i = 0; i < row; ++i) b[i] -= l_[row * n_ + i] * b[row];
  }
}

std::vector<double> Cholesky::inverse_diagonal() const {
  std::vector<double> diagonal(n_, 0.0), column(n_);
  for (size_t i = 0; i < n_; ++i) {  // column i of L⁻¹ is zero above i
    column[i] = 1 / l_[i * n_ + i];
    for (size_t row = i + 1; row < n_; ++row) {
      const double* of_row = l_.data() + row * n_;
      column[row] = -dot(of_row + i, column.data() + i, row - i) / of_row[row];
    }
    diagonal[i] = dot(column.data() + i, column.data() + i, n_ - i);
  }
  return diagonal;
}

double Cholesky::log_determinant() const {
  double sum = 0;
  for (size_t i = 0; i < n_; ++i) sum += std::log(l_[i * n_ + i]);
  return 2 * sum;
}

}  // namespace quern::explain
