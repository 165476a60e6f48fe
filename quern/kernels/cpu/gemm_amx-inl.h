// The products of gemm on Intel's tile unit (amx.h): packing into three parts of bfloat16, and the
// blocks of C.
#if defined(QUERN_KERNELS_CPU_GEMM_AMX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUERN_KERNELS_CPU_GEMM_AMX_INL_H_
#undef QUERN_KERNELS_CPU_GEMM_AMX_INL_H_
#else
#define QUERN_KERNELS_CPU_GEMM_AMX_INL_H_
#endif

#include <cstring>

#include "quern/kernels/cpu/amx.h"
#include "quern/kernels/cpu/gemm_epilogue-inl.h"
#include "quern/kernels/cpu/gemm_pack-inl.h"
#include "quern/kernels/cpu/gemm_plan.h"

// The unit never comes without AVX-512.
#if HWY_TARGET == HWY_AVX3
HWY_BEFORE_NAMESPACE();
namespace quern::kernels::cpu {
namespace HWY_NAMESPACE {

using U32 = hn::ScalableTag<uint32_t>;
using U16 = hn::ScalableTag<uint16_t>;
using VU32 = hn::Vec<U32>;

// The upper half of x's bits, rounded, as a float: 8 bits of its significand.
HWY_INLINE V32 upper_half(V32 x) {
  const U32 d;
  const VU32 bits = hn::Add(hn::BitCast(d, x), hn::Set(d, 0x8000U));
  return hn::BitCast(F32(), hn::And(bits, hn::Set(d, 0xFFFF0000U)));
}

// x0 and x1 in three parts each, as bfloat16: for each part, join(x0's, x1's) is stored.
template <class Join>
HWY_INLINE void split(V32 x0, V32 x1, std::byte* to, const Join& join) {
  constexpr int64_t kPart = 2 * amx::kTileBytes;
  const V32 high0 = upper_half(x0), high1 = upper_half(x1);
  join(high0, high1, to);
  x0 = hn::Sub(x0, high0), x1 = hn::Sub(x1, high1);
  const V32 middle0 = upper_half(x0), middle1 = upper_half(x1);
  join(middle0, middle1, to + kPart);
  join(hn::Sub(x0, middle0), hn::Sub(x1, middle1), to + 2 * kPart);  // 8 bits are left
}

// One step of A: 32 rows of 32 numbers, `ld` apart.
HWY_INLINE void split_rows(const float* from, int64_t ld, std::byte* to) {
  const F32 d;
  const auto one_after_the_other = [](V32 x0, V32 x1, std::byte* at) HWY_ATTR {
    const U16 d16;
    const auto both = hn::ConcatOdd(d16, hn::BitCast(d16, x1), hn::BitCast(d16, x0));
    hn::StoreU(both, d16, reinterpret_cast<uint16_t*>(at));
  };
  for (int64_t r = 0; r < amx::kBlock; ++r, from += ld, to += 64) {
    split(hn::LoadU(d, from), hn::LoadU(d, from + kLanes), to, one_after_the_other);
  }
}

// One step of B: 32 rows of k, `ld` apart, of 32 columns, as pairs of rows.
HWY_INLINE void split_pairs(const float* from, int64_t ld, std::byte* to) {
  const F32 d;
  const auto in_pairs = [](V32 x0, V32 x1, std::byte* at) HWY_ATTR {
    const U32 d32;
    const VU32 low = hn::ShiftRight<16>(hn::BitCast(d32, x0));
    const VU32 high = hn::And(hn::BitCast(d32, x1), hn::Set(d32, 0xFFFF0000U));
    hn::StoreU(hn::Or(low, high), d32, reinterpret_cast<uint32_t*>(at));
  };
  for (int64_t p = 0; p < amx::kStep; p += 2, from += 2 * ld, to += 64) {
    split(hn::LoadU(d, from), hn::LoadU(d, from + ld), to, in_pairs);
    split(hn::LoadU(d, from + kLanes), hn::LoadU(d, from + ld + kLanes), to + amx::kTileBytes,
          in_pairs);
  }
}

// A part of a matrix, up to 32 x 32, whose element (r, c) stands at from[r * ld + c].
struct Piece {
  const float* from = nullptr;
  int64_t ld = 0;
  int64_t rows = 0, columns = 0;

  bool whole() const { return rows == amx::kBlock && columns == amx::kBlock; }
};

// Copies a piece to a 32 x 32 buffer, zeros beyond it, by whole rows: each cache line comes once,
// also where rows lie a multiple of 4 KiB apart and push each other out.
HWY_INLINE Piece staged(const Piece& piece, float* buffer) {
  constexpr int64_t kSide = amx::kBlock;
  if (piece.rows < kSide) std::memset(buffer, 0, sizeof(float) * kSide * kSide);
  pack_columns(piece.from, piece.ld, piece.columns, piece.rows, kSide, buffer);
  return {buffer, kSide, kSide, kSide};
}

// The piece as 32 x 32, where it stands if it can be, else in the buffer.
HWY_INLINE Piece whole_piece(const Piece& piece, bool transpose, float* buffer) {
  constexpr int64_t kSide = amx::kBlock;
  if (!transpose) return piece.whole() ? piece : staged(piece, buffer);
  HWY_ALIGN float rows[kSide * kSide];
  pack_rows(staged(piece, rows).from, kSide, kSide, kSide, kSide, buffer);
  return {buffer, kSide, kSide, kSide};
}

// Rows i.. of A (up to 32) over a block of k.
HWY_INLINE void amx_pack_a(const Gemm& gemm, const KBlock& block, int64_t i, std::byte* to) {
  HWY_ALIGN float buffer[amx::kBlock * amx::kBlock];
  const int64_t rows = std::min(amx::kBlock, gemm.m - i);
  for (int64_t p = 0; p < block.size; p += amx::kStep, to += amx::kStepBytes) {
    const int64_t depth = std::min(amx::kStep, block.size - p);
    Piece piece{gemm.a + i * gemm.lda + block.begin + p, gemm.lda, rows, depth};
    if (gemm.transpose_a)
      piece = {gemm.a + (block.begin + p) * gemm.lda + i, gemm.lda, depth, rows};
    piece = whole_piece(piece, gemm.transpose_a, buffer);
    split_rows(piece.from, piece.ld, to);
  }
}

// Columns j.. of B (up to 32) over a block of k.
HWY_INLINE void amx_pack_b(const Gemm& gemm, const KBlock& block, int64_t j, std::byte* to) {
  HWY_ALIGN float buffer[amx::kBlock * amx::kBlock];
  const int64_t columns = std::min(amx::kBlock, gemm.n - j);
  for (int64_t p = 0; p < block.size; p += amx::kStep, to += amx::kStepBytes) {
    const int64_t depth = std::min(amx::kStep, block.size - p);
    Piece piece{gemm.b + (block.begin + p) * gemm.ldb + j, gemm.ldb, depth, columns};
    if (gemm.transpose_b) {
      piece = {gemm.b + j * gemm.ldb + block.begin + p, gemm.ldb, columns, depth};
    }
    piece = whole_piece(piece, gemm.transpose_b, buffer);
    split_pairs(piece.from, piece.ld, to);
  }
}

// Rows and columns of a block between C's layout and a 32 x 32 buffer.
HWY_INLINE void copy_rows(const float* from, int64_t ld_from, int64_t rows, int64_t columns,
                          const float* bias, float* to, int64_t ld) {
  const F32 d;
  for (int64_t r = 0; r < rows; ++r, from += ld_from, to += ld) {
    for (int64_t j = 0; j < columns; j += kLanes) {
      const int64_t count = columns - j;
      const float* const b = bias ? bias + j : nullptr;
      if (count >= kLanes) {
        store_row<true>(hn::LoadU(d, from + j), to + j, nullptr, b, kLanes);
      } else {
        store_row<false>(load_first(from + j, count), to + j, nullptr, b, count);
      }
    }
  }
}

// C's rows i.. (up to 32) and columns j0..j1 over one block of k.
HWY_INLINE void amx_multiply_panel(const Gemm& gemm, const KBlock& block, const std::byte* a,
                                   const std::byte* packed_b, int64_t i, int64_t j0, int64_t j1) {
  constexpr int64_t kSide = amx::kBlock;
  const Sums sums = sums_of(gemm, block);
  const int64_t steps = GemmPlan::ceil(block.size, amx::kStep);
  const int64_t rows = std::min(kSide, gemm.m - i);
  const int64_t tile_rows = GemmPlan::round_up(rows, amx::kTile);
  HWY_ALIGN float buffer[kSide * kSide];
  for (int64_t j = j0; j < j1; j += kSide, packed_b += steps * amx::kStepBytes) {
    const int64_t columns = std::min(kSide, j1 - j);
    const int64_t at = i * gemm.ldc + j;
    const bool whole = rows == tile_rows && columns == kSide;
    const float* const bias = block.last && gemm.bias ? gemm.bias + j : nullptr;
    const bool in_place = whole && !sums.finish && bias == nullptr;
    const float* from = sums.from ? sums.from + at : nullptr;
    int64_t ld_from = gemm.ldc;
    if (from && !whole) {
      copy_rows(from, ld_from, rows, columns, nullptr, buffer, kSide);
      from = buffer, ld_from = kSide;
    }
    amx::multiply(a, packed_b, steps, rows, from, ld_from, in_place ? sums.partial + at : buffer,
                  in_place ? gemm.ldc : kSide);
    if (sums.finish) {
      finish_tile(gemm, buffer, kSide, bias, i, j, rows, columns);
    } else if (!in_place) {
      copy_rows(buffer, kSide, rows, columns, bias, sums.partial + at, gemm.ldc);
    }
  }
}

// B is packed by all; then each task multiplies its rows of A, 32 at a time, which it packs itself
// unless other tasks need them too.
void amx_by_rows(const Context& context, const Gemm& gemm, const GemmPlan& plan,
                 const KBlock& block, std::byte* packed) {
  const int64_t step_bytes = GemmPlan::ceil(block.size, amx::kStep) * amx::kStepBytes;
  const int64_t a_panels = GemmPlan::ceil(gemm.m, amx::kBlock);
  const int64_t b_panels = GemmPlan::ceil(gemm.n, amx::kBlock);
  std::byte* const packed_a = packed + b_panels * step_bytes;
  const auto pack = [&](size_t index, int) HWY_ATTR {
    const auto at = static_cast<int64_t>(index);
    if (at < b_panels) {
      amx_pack_b(gemm, block, at * amx::kBlock, packed + at * step_bytes);
    } else {
      const int64_t p = at - b_panels;
      amx_pack_a(gemm, block, p * amx::kBlock, packed_a + p * step_bytes);
    }
  };
  context.pool.parallel_for(static_cast<size_t>(b_panels + (plan.pack_a_first ? a_panels : 0)),
                            pack);
  const auto task = [&](size_t index, int) HWY_ATTR {
    const amx::Tiles tiles;
    const int64_t row_task = static_cast<int64_t>(index) % plan.row_tasks;
    const int64_t column_task = static_cast<int64_t>(index) / plan.row_tasks;
    const int64_t b0 = b_panels * column_task / plan.column_tasks;
    const int64_t b1 = b_panels * (column_task + 1) / plan.column_tasks;
    alignas(64) std::byte panel[GemmPlan::kMaxKBlock / amx::kStep * amx::kStepBytes];
    for (int64_t p = a_panels * row_task / plan.row_tasks;
         p < a_panels * (row_task + 1) / plan.row_tasks; ++p) {
      if (!plan.pack_a_first) amx_pack_a(gemm, block, p * amx::kBlock, panel);
      amx_multiply_panel(gemm, block, plan.pack_a_first ? packed_a + p * step_bytes : panel,
                         packed + b0 * step_bytes, p * amx::kBlock, b0 * amx::kBlock,
                         std::min(gemm.n, b1 * amx::kBlock));
    }
  };
  context.pool.parallel_for(static_cast<size_t>(plan.row_tasks * plan.column_tasks), task);
}

// A is packed by all; then each task packs its columns of B and multiplies all rows.
void amx_by_columns(const Context& context, const Gemm& gemm, const GemmPlan& plan,
                    const KBlock& block, std::byte* packed) {
  const int64_t step_bytes = GemmPlan::ceil(block.size, amx::kStep) * amx::kStepBytes;
  const int64_t a_panels = GemmPlan::ceil(gemm.m, amx::kBlock);
  context.pool.parallel_for(static_cast<size_t>(a_panels), [&](size_t index, int) HWY_ATTR {
    const auto i = static_cast<int64_t>(index);
    amx_pack_a(gemm, block, i * amx::kBlock, packed + i * step_bytes);
  });
  const auto task = [&](size_t index, int) HWY_ATTR {
    const amx::Tiles tiles;
    constexpr int64_t kPanels = GemmPlan::kColumnTask / amx::kBlock;
    alignas(64) std::byte panels[kPanels * GemmPlan::kMaxKBlock / amx::kStep * amx::kStepBytes];
    const int64_t j0 = static_cast<int64_t>(index) * GemmPlan::kColumnTask;
    const int64_t j1 = std::min(gemm.n, j0 + GemmPlan::kColumnTask);
    for (int64_t j = j0; j < j1; j += amx::kBlock) {
      amx_pack_b(gemm, block, j, panels + (j - j0) / amx::kBlock * step_bytes);
    }
    for (int64_t p = 0; p < a_panels; ++p) {
      amx_multiply_panel(gemm, block, packed + p * step_bytes, panels, p * amx::kBlock, j0, j1);
    }
  };
  context.pool.parallel_for(static_cast<size_t>(plan.column_tasks), task);
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::kernels::cpu
HWY_AFTER_NAMESPACE();
#endif
#endif
