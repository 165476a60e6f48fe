// What becomes of a block of C once its products are summed, compiled once per instruction set.
#if defined(QUERN_KERNELS_CPU_GEMM_EPILOGUE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUERN_KERNELS_CPU_GEMM_EPILOGUE_INL_H_
#undef QUERN_KERNELS_CPU_GEMM_EPILOGUE_INL_H_
#else
#define QUERN_KERNELS_CPU_GEMM_EPILOGUE_INL_H_
#endif

#include "quern/kernels/cpu/activation-inl.h"
#include "quern/kernels/cpu/gemm.h"
#include "quern/kernels/cpu/microkernel-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quern::kernels::cpu {
namespace HWY_NAMESPACE {

template <Activation kActivation>
HWY_INLINE void finish_row(const float* from, int64_t columns, const float* bias, float* pre,
                           const float* residual, float* c) {
  const F32 d;
  for (int64_t j = 0; j < columns; j += kLanes) {
    const int64_t count = columns - j;
    V32 v = hn::LoadU(d, from + j);  // a padded buffer
    if (count >= kLanes) {
      if (bias) v = hn::Add(v, hn::LoadU(d, bias + j));
      if (pre) hn::StoreU(v, d, pre + j);
      v = activate<kActivation>(v).value;
      if (residual) v = hn::Add(v, hn::LoadU(d, residual + j));
      hn::StoreU(v, d, c + j);
    } else {
      if (bias) v = hn::Add(v, load_first(bias + j, count));
      if (pre) store_first(v, pre + j, count);
      v = activate<kActivation>(v).value;
      if (residual) v = hn::Add(v, load_first(residual + j, count));
      store_first(v, c + j, count);
    }
  }
}

// Bias (of column j.., or none), activation and residual over a tile in a buffer, to rows i.. and
// columns j.. of C.
static HWY_NOINLINE void finish_tile(const Gemm& gemm, const float* buffer, int64_t ld,
                                     const float* bias, int64_t i, int64_t j, int64_t rows,
                                     int64_t columns) {
  with_activation(gemm.activation, [&]<Activation kActivation>() HWY_ATTR {
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t at = (i + r) * gemm.ldc + j;
      finish_row<kActivation>(buffer + r * ld, columns, bias,
                              gemm.pre_activation ? gemm.pre_activation + at : nullptr,
                              gemm.residual ? gemm.residual + at : nullptr, gemm.c + at);
    }
  });
}

// A block of k: which part, and what it adds to.
struct KBlock {
  int64_t begin = 0, size = 0;
  bool first = true, last = true;
};

/// Where the sums of one block of k begin and go; all as (m,n) with C's leading dimension.
struct Sums {
  const float* from = nullptr;  // added to; null: 0
  float* partial = nullptr;     // where sums of earlier blocks of k stand
  bool finish = false;          // the sums are to go through finish_tile(), not to `partial`
};

HWY_INLINE Sums sums_of(const Gemm& gemm, const KBlock& block) {
  Sums sums;
  // Sums of earlier blocks of k stand where they disturb nothing that is still to be read.
  sums.partial = gemm.pre_activation ? gemm.pre_activation : gemm.c;
  const bool plain = gemm.activation == Activation::kNone && gemm.pre_activation == nullptr;
  sums.finish = block.last && (!plain || (gemm.accumulate && gemm.residual != nullptr));
  sums.from = sums.partial;
  if (block.first) sums.from = gemm.accumulate ? gemm.c : (plain ? gemm.residual : nullptr);
  return sums;
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::kernels::cpu
HWY_AFTER_NAMESPACE();
#endif
