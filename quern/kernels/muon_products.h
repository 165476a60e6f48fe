#pragma once

#include <algorithm>
#include <cstdint>

#include "quern/kernels/cpu/gemm.h"

// The products of Muon's Newton-Schulz steps, the same on every device.
namespace quern::kernels::muon {

inline constexpr int kSteps = 5;
// Coefficients of Jordan et al. 2024: fast towards singular values in about [0.7, 1.2].
inline constexpr float kA = 3.4445F, kB = -4.7750F, kC = 2.0315F;

/// X·Xᵀ, or Xᵀ·X where X is tall: the smaller one.
inline cpu::Gemm gram_product(int64_t rows, int64_t columns) {
  const bool tall = rows > columns;
  cpu::Gemm product;
  product.m = product.n = product.ldc = std::min(rows, columns);
  product.k = std::max(rows, columns);
  product.lda = product.ldb = columns;
  product.transpose_a = tall;
  product.transpose_b = !tall;
  return product;
}
inline cpu::Gemm square_product(int64_t side) {
  cpu::Gemm product;
  product.m = product.n = product.k = side;
  product.lda = product.ldb = product.ldc = side;
  return product;
}
/// polynomial(X·Xᵀ)·X, or X·polynomial(Xᵀ·X).
inline cpu::Gemm apply_product(int64_t rows, int64_t columns) {
  cpu::Gemm product;
  product.m = rows;
  product.n = product.ldc = columns;
  product.k = std::min(rows, columns);
  const bool tall = rows > columns;
  product.lda = tall ? columns : rows;
  product.ldb = columns;
  return product;
}

}  // namespace quern::kernels::muon
