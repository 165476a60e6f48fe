#include "quern/kernels/cpu/quantized.h"

#include <hwy/cache_control.h>

#include <algorithm>

#include "quern/kernels/cpu/gemm_plan.h"
#include "quern/kernels/cpu/parallel.h"
#include "quern/kernels/gemm_part.h"
#include "quern/tensor/buffer.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quern/kernels/cpu/quantized.cc"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include "quern/kernels/cpu/gemm_epilogue-inl.h"
#include "quern/kernels/cpu/microkernel-inl.h"
#include "quern/kernels/cpu/quantized-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quern::kernels::cpu {
namespace HWY_NAMESPACE {

// Scales of a row that are widened at a time.
constexpr int64_t kScales = 128;

// Vectors of at most kWidth lanes; the last one overlaps the one before it. False: too few.
template <int kWidth>
HWY_INLINE bool widen_vectors(const Float16* from, int64_t count, float* to) {
  const hn::CappedTag<float, kWidth> d;
  const hn::Rebind<hwy::float16_t, decltype(d)> halves;
  constexpr int64_t kStep = std::min<int64_t>(kWidth, kLanes);
  if (count < kStep) return false;
  const auto* bits = reinterpret_cast<const hwy::float16_t*>(from);
  for (int64_t i = 0; i < count; i += kStep) {
    const int64_t at = std::min(i, count - kStep);
    hn::StoreU(hn::PromoteTo(d, hn::LoadU(halves, bits + at)), d, to + at);
  }
  return true;
}

HWY_INLINE void widen(const Float16* from, int64_t count, float* to) {
  if (widen_vectors<16>(from, count, to) || widen_vectors<4>(from, count, to)) return;
  for (int64_t i = 0; i < count; ++i) to[i] = from[i];
}

// Rows of x times rows of the weight: out[r * ld + c] for kRows x kColumns of them. A block's
// products are summed before its scale.
template <int kBits, int kRows, int kColumns>
HWY_NOINLINE void dot_rows(const float* a, int64_t lda, const QuantizedMatrix& weight, int64_t j,
                           float* out, int64_t ld) {
  constexpr int64_t kBlockBytes = kQuantizedBlock * kBits / 8;
  const F32 d;
  V32 acc[kRows][kColumns];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < kColumns; ++c) acc[r][c] = hn::Zero(d);
  }
  HWY_ALIGN float scales[kColumns][kScales];
  const int64_t ahead = kColumns * weight.row_bytes();
  for (int64_t first = 0; first < weight.row_scales(); first += kScales) {
    const int64_t count = std::min(kScales, weight.row_scales() - first);
    const uint8_t* q[kColumns];
    for (int c = 0; c < kColumns; ++c) {
      widen(weight.scales(j + c) + first, count, scales[c]);
      q[c] = weight.quants(j + c) + first * kBlockBytes;
    }
    const float* x = a + first * kQuantizedBlock;
    for (int64_t block = 0; block < count; ++block) {
#pragma GCC unroll 4
      for (int c = 0; c < kColumns; ++c) {
        V32 w[kBlockVectors];
        load_block<kBits>(q[c] + block * kBlockBytes, w);
        // The rows after these: the hardware alone does not keep memory busy.
        hwy::Prefetch(q[c] + block * kBlockBytes + ahead);
        const V32 scale = hn::Set(d, scales[c][block]);
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r) {
          V32 sum = hn::Mul(w[0], hn::LoadU(d, x + r * lda));
#pragma GCC unroll 8
          for (int64_t v = 1; v < kBlockVectors; ++v)
            sum = hn::MulAdd(w[v], hn::LoadU(d, x + r * lda + v * kLanes), sum);
          acc[r][c] = hn::MulAdd(sum, scale, acc[r][c]);
        }
      }
      x += kQuantizedBlock;
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < kColumns; ++c) out[r * ld + c] = hn::GetLane(hn::SumOfLanes(d, acc[r][c]));
  }
}

template <int kBits, int kColumns>
HWY_INLINE void dot_columns(const Gemm& gemm, const QuantizedMatrix& weight, int64_t j, float* out,
                            int64_t ld) {
  constexpr int kMost = 4;
  for (int64_t i = 0; i < gemm.m; i += kMost) {
    const float* a = gemm.a + i * gemm.lda;
    float* to = out + i * ld;
    switch (std::min<int64_t>(kMost, gemm.m - i)) {
      case 1:
        dot_rows<kBits, 1, kColumns>(a, gemm.lda, weight, j, to, ld);
        break;
      case 2:
        dot_rows<kBits, 2, kColumns>(a, gemm.lda, weight, j, to, ld);
        break;
      case 3:
        dot_rows<kBits, 3, kColumns>(a, gemm.lda, weight, j, to, ld);
        break;
      default:
        dot_rows<kBits, kMost, kColumns>(a, gemm.lda, weight, j, to, ld);
    }
  }
}

template <int kBits>
void few_rows(const Context& context, const Gemm& gemm, const QuantizedMatrix& weight) {
  constexpr int64_t kWidth = GemmPlan::kColumnTask;
  const auto task = [&](int64_t j0, int64_t j1) HWY_ATTR {
    HWY_ALIGN float buffer[GemmPlan::kFewRows * kWidth];
    int64_t j = j0;
    for (; j + 4 <= j1; j += 4) dot_columns<kBits, 4>(gemm, weight, j, buffer + j - j0, kWidth);
    for (; j < j1; ++j) dot_columns<kBits, 1>(gemm, weight, j, buffer + j - j0, kWidth);
    for (int64_t i = 0; gemm.accumulate && i < gemm.m; ++i) {
      const float* c = gemm.c + i * gemm.ldc;
      for (j = j0; j < j1; ++j) buffer[i * kWidth + j - j0] += c[j];
    }
    finish_tile(gemm, buffer, kWidth, gemm.bias ? gemm.bias + j0 : nullptr, 0, j0, gemm.m, j1 - j0);
  };
  for_chunks(context, gemm.n, kWidth, task);
}

void run_few_rows(const Context& context, const Gemm& gemm, const QuantizedMatrix& weight) {
  (weight.bits == 8 ? few_rows<8> : few_rows<4>)(context, gemm, weight);
}

template <int kBits>
void dequantize_row(const QuantizedMatrix& matrix, int64_t row, float* out) {
  const F32 d;
  for (int64_t block = 0; block < matrix.row_scales(); ++block) {
    V32 weights[kBlockVectors];
    load_weights<kBits>(matrix, row, block, weights);
    for (const V32& part : weights) {
      hn::StoreU(part, d, out);
      out += kLanes;
    }
  }
}

void run_dequantize_row(const QuantizedMatrix& matrix, int64_t row, float* out) {
  (matrix.bits == 8 ? dequantize_row<8> : dequantize_row<4>)(matrix, row, out);
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quern::kernels::cpu {
namespace {

HWY_EXPORT(run_few_rows);
HWY_EXPORT(run_dequantize_row);

/// Rows of the weight that stand in float32 at a time: they stay in the second-level cache, or are
/// a task of columns at least.
int64_t rows_of_part(const Gemm& shape) {
  constexpr int64_t kFloats = 256 * 1024;
  return GemmPlan::round_up(std::max<int64_t>(1, kFloats / std::max<int64_t>(1, shape.k)),
                            GemmPlan::kColumnTask);
}

size_t weight_scratch(const Gemm& shape) {
  const int64_t rows = std::min(shape.n, rows_of_part(shape));
  return Buffer::align(static_cast<size_t>(rows * shape.k) * sizeof(float));
}

}  // namespace

size_t quantized_gemm_scratch(const Gemm& shape) {
  if (shape.m <= GemmPlan::kFewRows) return 0;
  const int64_t rows = std::min(shape.n, rows_of_part(shape));
  Gemm part;
  part.m = shape.m;
  part.k = part.lda = part.ldb = shape.k;
  part.transpose_b = true;
  size_t most = 0;
  for (const int64_t columns : {rows, shape.n % rows}) {
    part.n = columns;
    if (columns > 0) most = std::max(most, gemm_scratch(part));
  }
  return weight_scratch(shape) + most;
}

void quantized_gemm(const Context& context, const Gemm& gemm, const QuantizedMatrix& weight,
                    std::byte* scratch) {
  if (gemm.m <= 0 || gemm.n <= 0) return;
  if (gemm.m <= GemmPlan::kFewRows) {
    HWY_DYNAMIC_DISPATCH(run_few_rows)(context, gemm, weight);
    return;
  }
  auto* const weights = reinterpret_cast<float*>(scratch);
  const int64_t rows = rows_of_part(gemm);
  for (int64_t j = 0; j < gemm.n; j += rows) {
    const Gemm part = column_part(gemm, j, std::min(rows, gemm.n - j), weights);
    dequantize(context, weight, j, part.n, weights);
    cpu::gemm(context, part, scratch + weight_scratch(gemm));
  }
}

void dequantize(const Context& context, const QuantizedMatrix& matrix, int64_t first, int64_t rows,
                float* out) {
  for_chunks(context, rows, rows_per_task(matrix.columns), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      HWY_DYNAMIC_DISPATCH(run_dequantize_row)(matrix, first + row, out + row * matrix.columns);
  });
}

}  // namespace quern::kernels::cpu
#endif
