#include "quern/kernels/reference/gemm.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace quern::kernels::reference {

double activate(Activation activation, double x) {
  switch (activation) {
    case Activation::kRelu:
      return std::max(x, 0.0);
    case Activation::kGelu:
      return 0.5 * x * std::erfc(-x / std::numbers::sqrt2);
    case Activation::kGeluTanh:
      return 0.5 * x *
             (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
    case Activation::kNone:
      break;
  }
  return x;
}

namespace {

/// `b` gives the element (p, j) of op(B).
template <typename B>
void multiply(const cpu::Gemm& gemm, const B& b) {
  for (int64_t i = 0; i < gemm.m; ++i) {
    for (int64_t j = 0; j < gemm.n; ++j) {
      double sum = 0;
      for (int64_t p = 0; p < gemm.k; ++p) {
        const float a = gemm.transpose_a ? gemm.a[p * gemm.lda + i] : gemm.a[i * gemm.lda + p];
        sum += static_cast<double>(a) * static_cast<double>(b(p, j));
      }
      const int64_t at = i * gemm.ldc + j;
      if (gemm.accumulate) sum += static_cast<double>(gemm.c[at]);
      if (gemm.bias) sum += static_cast<double>(gemm.bias[j]);
      if (gemm.pre_activation) gemm.pre_activation[at] = static_cast<float>(sum);
      sum = activate(gemm.activation, sum);
      if (gemm.residual) sum += static_cast<double>(gemm.residual[at]);
      gemm.c[at] = static_cast<float>(sum);
    }
  }
}

}  // namespace

void gemm(const cpu::Gemm& gemm) {
  multiply(gemm, [&](int64_t p, int64_t j) {
    return gemm.transpose_b ? gemm.b[j * gemm.ldb + p] : gemm.b[p * gemm.ldb + j];
  });
}

void quantized_gemm(const cpu::Gemm& gemm, const QuantizedMatrix& weight) {
  multiply(gemm, [&](int64_t p, int64_t j) { return weight.weight(j, p); });
}

void dequantize(const QuantizedMatrix& matrix, int64_t first, int64_t rows, float* out) {
  for (int64_t row = first; row < first + rows; ++row) {
    for (int64_t column = 0; column < matrix.columns; ++column) *out++ = matrix.weight(row, column);
  }
}

void column_sum(const float* x, int64_t m, int64_t n, float* out, bool accumulate) {
  for (int64_t j = 0; j < n; ++j) {
    double sum = accumulate ? static_cast<double>(out[j]) : 0.0;
    for (int64_t i = 0; i < m; ++i) sum += static_cast<double>(x[i * n + j]);
    out[j] = static_cast<float>(sum);
  }
}

}  // namespace quern::kernels::reference
