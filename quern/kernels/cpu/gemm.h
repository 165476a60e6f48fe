#pragma once

#include <cstddef>
#include <cstdint>

#include "quern/kernels/activation.h"
#include "quern/kernels/cpu/context.h"

namespace quern::kernels::cpu {

/// C (m,n) = epilogue(op(A) (m,k) · op(B) (k,n) [+ C]), all row-major; operands of type In, all
/// else of type Out.
template <typename In, typename Out = In>
struct GemmOf {
  int64_t m = 0, n = 0, k = 0;
  const In* a = nullptr;  // (m,k), or (k,m) when transpose_a
  int64_t lda = 0;
  bool transpose_a = false;
  const In* b = nullptr;  // (k,n), or (n,k) when transpose_b: the layout of a linear layer's weight
  int64_t ldb = 0;
  bool transpose_b = false;
  Out* c = nullptr;
  int64_t ldc = 0;
  bool accumulate = false;  // add to C (beta = 1)

  // Epilogue, in this order, each optional: + bias (n); store to pre_activation (m,n; ld ldc);
  // activation; + residual (m,n; ld ldc). `residual` may be `c` where there is neither
  // activation nor accumulation.
  const Out* bias = nullptr;
  Out* pre_activation = nullptr;
  Activation activation = Activation::kNone;
  const Out* residual = nullptr;
};
using Gemm = GemmOf<float>;

/// Bytes of scratch that gemm() needs for these extents and orientations (pointers are not read).
/// It depends on nothing but the shape and whether the processor has a tile unit; 64-byte aligned
/// scratch is expected.
size_t gemm_scratch(const Gemm& gemm);
void gemm(const Context& context, const Gemm& gemm, std::byte* scratch);

/// Sums the rows of x (m,n) into out (n): the gradient of a bias. Fixed tree.
size_t column_sum_scratch(int64_t m, int64_t n);
void column_sum(const Context& context, const float* x, int64_t m, int64_t n, float* out,
                bool accumulate, std::byte* scratch);

}  // namespace quern::kernels::cpu
