#include "quern/kernels/cpu/gemm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quern/kernels/cpu/gemm.cc"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include "quern/kernels/cpu/amx.h"
#include "quern/kernels/cpu/gemm_amx-inl.h"
#include "quern/kernels/cpu/gemm_epilogue-inl.h"
#include "quern/kernels/cpu/gemm_pack-inl.h"
#include "quern/kernels/cpu/gemm_plan.h"
#include "quern/kernels/cpu/microkernel-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quern::kernels::cpu {
namespace HWY_NAMESPACE {

// One panel of rows of A, ready for the micro-kernel.
struct APanel {
  const float* a = nullptr;
  int64_t lda = 0;
  bool by_columns = false;
};

// C's rows i.. (one panel) and columns j0..j1 over one block of k; packed_b holds those columns.
HWY_INLINE void multiply_panel(const Gemm& gemm, const KBlock& block, const APanel& panel,
                               const float* packed_b, int64_t i, int64_t rows, int64_t j0,
                               int64_t j1) {
  const Sums sums = sums_of(gemm, block);
  HWY_ALIGN float buffer[kTileRows * kTileColumns];
  Tile tile;
  tile.k = block.size;
  tile.a = panel.a;
  tile.lda = panel.lda;
  tile.ldb = kTileColumns;
  tile.ld_from = gemm.ldc;
  for (int64_t j = j0; j < j1; j += kTileColumns) {
    const int64_t columns = std::min(kTileColumns, j1 - j);
    tile.b = packed_b + (j - j0) * block.size;
    tile.from = sums.from ? sums.from + i * gemm.ldc + j : nullptr;
    tile.bias = block.last && gemm.bias ? gemm.bias + j : nullptr;
    tile.c = sums.finish ? buffer : sums.partial + i * gemm.ldc + j;
    tile.ldc = sums.finish ? kTileColumns : gemm.ldc;
    if (panel.by_columns) {
      multiply<true>(tile, rows, columns);
    } else {
      multiply<false>(tile, rows, columns);
    }
    if (sums.finish) finish_tile(gemm, buffer, kTileColumns, nullptr, i, j, rows, columns);
  }
}

// One panel of B: columns j..j+kTileColumns of it over a block of k.
HWY_INLINE void pack_b(const Gemm& gemm, const KBlock& block, int64_t j, float* to) {
  const int64_t columns = std::min(kTileColumns, gemm.n - j);
  if (gemm.transpose_b) {
    pack_rows(gemm.b + j * gemm.ldb + block.begin, gemm.ldb, columns, block.size, kTileColumns, to);
  } else {
    pack_columns(gemm.b + block.begin * gemm.ldb + j, gemm.ldb, columns, block.size, kTileColumns,
                 to);
  }
}

// Panels of A that stands by columns: rows i.. (up to `panels` panels of them) over a block of k.
HWY_INLINE void pack_a(const Gemm& gemm, const KBlock& block, int64_t i, int64_t panels,
                       float* to) {
  const int64_t rows = std::min(gemm.m - i, panels * kTileRows);
  pack_column_panels(gemm.a + block.begin * gemm.lda + i, gemm.lda, rows, block.size, kTileRows,
                     to);
}

// B is packed by all, then each task multiplies its rows and columns.
void gemm_by_rows(const Context& context, const Gemm& gemm, const GemmPlan& plan,
                  const KBlock& block, float* packed) {
  const int64_t b_panels = GemmPlan::ceil(gemm.n, kTileColumns);
  const int64_t a_panels = GemmPlan::ceil(gemm.m, kTileRows);
  float* const packed_a = packed + GemmPlan::round_up(gemm.n, GemmPlan::kPanel) * plan.k_block;
  const int64_t a_groups = plan.pack_a_first ? GemmPlan::ceil(a_panels, GemmPlan::kGroup) : 0;
  const auto pack = [&](size_t index, int) HWY_ATTR {
    const auto at = static_cast<int64_t>(index);
    if (at < b_panels) {
      pack_b(gemm, block, at * kTileColumns, packed + at * kTileColumns * block.size);
    } else {
      const int64_t i = (at - b_panels) * GemmPlan::kGroup * kTileRows;
      pack_a(gemm, block, i, GemmPlan::kGroup, packed_a + i * block.size);
    }
  };
  context.pool.parallel_for(static_cast<size_t>(b_panels + a_groups), pack);

  const bool pack_here = gemm.transpose_a && gemm.lda >= GemmPlan::kNearRows && !plan.pack_a_first;
  const auto task = [&](size_t index, int) HWY_ATTR {
    const int64_t row_task = static_cast<int64_t>(index) % plan.row_tasks;
    const int64_t column_task = static_cast<int64_t>(index) / plan.row_tasks;
    const int64_t j0 = b_panels * column_task / plan.column_tasks * kTileColumns;
    const int64_t j1 =
        std::min(gemm.n, b_panels * (column_task + 1) / plan.column_tasks * kTileColumns);
    if (j0 >= j1) return;
    const int64_t p0 = a_panels * row_task / plan.row_tasks;
    const int64_t p1 = a_panels * (row_task + 1) / plan.row_tasks;
    HWY_ALIGN float group[GemmPlan::kGroup * kTileRows * GemmPlan::kMaxKBlock];
    for (int64_t p = p0; p < p1; ++p) {
      const int64_t i = p * kTileRows;
      APanel panel{gemm.a + i * gemm.lda + block.begin, gemm.lda, false};
      if (gemm.transpose_a) panel = {gemm.a + block.begin * gemm.lda + i, gemm.lda, true};
      if (plan.pack_a_first) {
        panel = {packed_a + i * block.size, kTileRows, true};
      } else if (pack_here) {
        const int64_t in_group = (p - p0) % GemmPlan::kGroup;
        if (in_group == 0) pack_a(gemm, block, i, std::min(GemmPlan::kGroup, p1 - p), group);
        panel = {group + in_group * kTileRows * block.size, kTileRows, true};
      }
      multiply_panel(gemm, block, panel, packed + j0 * block.size, i,
                     std::min(kTileRows, gemm.m - i), j0, j1);
    }
  };
  context.pool.parallel_for(static_cast<size_t>(plan.row_tasks * plan.column_tasks), task);
}

// Each task packs a few columns of B and multiplies all rows by them; A is packed by all where it
// stands by columns.
void gemm_by_columns(const Context& context, const Gemm& gemm, const GemmPlan& plan,
                     const KBlock& block, float* packed) {
  const int64_t a_panels = GemmPlan::ceil(gemm.m, kTileRows);
  if (gemm.transpose_a) {
    const int64_t a_groups = GemmPlan::ceil(a_panels, GemmPlan::kGroup);
    context.pool.parallel_for(static_cast<size_t>(a_groups), [&](size_t index, int) HWY_ATTR {
      const int64_t i = static_cast<int64_t>(index) * GemmPlan::kGroup * kTileRows;
      pack_a(gemm, block, i, GemmPlan::kGroup, packed + i * block.size);
    });
  }
  const auto task = [&](size_t index, int) HWY_ATTR {
    HWY_ALIGN float b_panels[GemmPlan::kColumnTask * GemmPlan::kMaxKBlock];
    const int64_t j0 = static_cast<int64_t>(index) * GemmPlan::kColumnTask;
    const int64_t j1 = std::min(gemm.n, j0 + GemmPlan::kColumnTask);
    for (int64_t j = j0; j < j1; j += kTileColumns) {
      pack_b(gemm, block, j, b_panels + (j - j0) * block.size);
    }
    for (int64_t p = 0; p < a_panels; ++p) {
      const int64_t i = p * kTileRows;
      APanel panel{gemm.a + i * gemm.lda + block.begin, gemm.lda, false};
      if (gemm.transpose_a) panel = {packed + i * block.size, kTileRows, true};
      multiply_panel(gemm, block, panel, b_panels, i, std::min(kTileRows, gemm.m - i), j0, j1);
    }
  };
  context.pool.parallel_for(static_cast<size_t>(plan.column_tasks), task);
}

// Rows of x times rows of the weight: out[r * ld + c] for kRows x kColumns of them.
template <int kRows, int kColumns>
HWY_INLINE void dot_rows(const float* a, int64_t lda, const float* b, int64_t ldb, int64_t k,
                         float* out, int64_t ld) {
  const F32 d;
  V32 acc[kRows][kColumns];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < kColumns; ++c) acc[r][c] = hn::Zero(d);
  }
  int64_t p = 0;
  for (; p + kLanes <= k; p += kLanes) {
    V32 av[kRows];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) av[r] = hn::LoadU(d, a + r * lda + p);
#pragma GCC unroll 4
    for (int c = 0; c < kColumns; ++c) {
      const V32 bv = hn::LoadU(d, b + c * ldb + p);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) acc[r][c] = hn::MulAdd(av[r], bv, acc[r][c]);
    }
  }
  if (p < k) {
    for (int c = 0; c < kColumns; ++c) {
      const V32 bv = load_first(b + c * ldb + p, k - p);
      for (int r = 0; r < kRows; ++r) {
        acc[r][c] = hn::MulAdd(load_first(a + r * lda + p, k - p), bv, acc[r][c]);
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < kColumns; ++c) out[r * ld + c] = hn::GetLane(hn::SumOfLanes(d, acc[r][c]));
  }
}

template <int kColumns>
HWY_INLINE void dot_columns(const Gemm& gemm, int64_t j, float* out, int64_t ld) {
  const float* b = gemm.b + j * gemm.ldb;
  int64_t i = 0;
  for (; i + 4 <= gemm.m; i += 4) {
    dot_rows<4, kColumns>(gemm.a + i * gemm.lda, gemm.lda, b, gemm.ldb, gemm.k, out + i * ld, ld);
  }
  for (; i < gemm.m; ++i) {
    dot_rows<1, kColumns>(gemm.a + i * gemm.lda, gemm.lda, b, gemm.ldb, gemm.k, out + i * ld, ld);
  }
}

void gemm_few_rows(const Context& context, const Gemm& gemm, const GemmPlan& plan) {
  const auto task = [&](size_t index, int) HWY_ATTR {
    constexpr int64_t kWidth = GemmPlan::kColumnTask;
    HWY_ALIGN float buffer[GemmPlan::kFewRows * kWidth];
    const int64_t j0 = static_cast<int64_t>(index) * kWidth;
    const int64_t columns = std::min(kWidth, gemm.n - j0);
    int64_t j = 0;
    for (; j + 4 <= columns; j += 4) dot_columns<4>(gemm, j0 + j, buffer + j, kWidth);
    for (; j < columns; ++j) dot_columns<1>(gemm, j0 + j, buffer + j, kWidth);
    for (int64_t i = 0; i < gemm.m; ++i) {
      float* row = buffer + i * kWidth;
      const float* c = gemm.c + i * gemm.ldc + j0;
      for (j = 0; gemm.accumulate && j < columns; ++j) row[j] += c[j];
    }
    finish_tile(gemm, buffer, kWidth, gemm.bias ? gemm.bias + j0 : nullptr, 0, j0, gemm.m, columns);
  };
  context.pool.parallel_for(static_cast<size_t>(plan.column_tasks), task);
}

void multiply_block(const Context& context, const Gemm& gemm, const GemmPlan& plan,
                    const KBlock& block, std::byte* scratch) {
#if HWY_TARGET == HWY_AVX3
  if (plan.on_tile_unit) {
    if (plan.by_columns) return amx_by_columns(context, gemm, plan, block, scratch);
    return amx_by_rows(context, gemm, plan, block, scratch);
  }
#endif
  auto* const packed = reinterpret_cast<float*>(scratch);
  if (plan.by_columns) return gemm_by_columns(context, gemm, plan, block, packed);
  gemm_by_rows(context, gemm, plan, block, packed);
}

void run_gemm(const Context& context, const Gemm& gemm, std::byte* scratch) {
  const GemmPlan plan = plan_gemm(gemm, tile_unit_in_use());
  if (plan.few_rows) return gemm_few_rows(context, gemm, plan);
  KBlock block;
  do {
    block.size = std::min(plan.k_block, gemm.k - block.begin);
    block.first = block.begin == 0;
    block.last = block.begin + block.size == gemm.k;
    multiply_block(context, gemm, plan, block, scratch);
    block.begin += block.size;
  } while (block.begin < gemm.k);
}

constexpr int64_t kSumRows = 64;

void sum_columns(const Context& context, const float* x, int64_t m, int64_t n, float* out,
                 bool accumulate, float* partial) {
  const F32 d;
  const auto add_rows = [&](const float* from, int64_t rows, float* to, bool add) HWY_ATTR {
    int64_t j = 0;
    for (; j + 4 * kLanes <= n; j += 4 * kLanes) {
      V32 s[4];
#pragma GCC unroll 4
      for (int q = 0; q < 4; ++q) s[q] = hn::LoadU(d, from + j + q * kLanes);
      for (int64_t i = 1; i < rows; ++i) {
#pragma GCC unroll 4
        for (int q = 0; q < 4; ++q)
          s[q] = hn::Add(s[q], hn::LoadU(d, from + i * n + j + q * kLanes));
      }
#pragma GCC unroll 4
      for (int q = 0; q < 4; ++q) {
        float* at = to + j + q * kLanes;
        hn::StoreU(add ? hn::Add(s[q], hn::LoadU(d, at)) : s[q], d, at);
      }
    }
    for (; j < n; ++j) {
      float s = from[j];
      for (int64_t i = 1; i < rows; ++i) s += from[i * n + j];
      to[j] = add ? to[j] + s : s;
    }
  };
  const int64_t blocks = GemmPlan::ceil(m, kSumRows);
  if (blocks <= 1) {
    if (m > 0) {
      add_rows(x, m, out, accumulate);
    } else if (!accumulate) {
      std::fill_n(out, n, 0.0F);
    }
    return;
  }
  context.pool.parallel_for(static_cast<size_t>(blocks), [&](size_t index, int) HWY_ATTR {
    const int64_t i = static_cast<int64_t>(index) * kSumRows;
    add_rows(x + i * n, std::min(kSumRows, m - i), partial + static_cast<int64_t>(index) * n,
             false);
  });
  add_rows(partial, blocks, out, accumulate);
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quern::kernels::cpu {

HWY_EXPORT(run_gemm);
HWY_EXPORT(sum_columns);

GemmPlan plan_gemm(const Gemm& gemm, bool tile_unit) {
  GemmPlan plan;
  plan.few_rows = gemm.m <= GemmPlan::kFewRows && !gemm.transpose_a && gemm.transpose_b;
  // Below a block of C or a step of k the unit multiplies mostly zeros. The rows of A by rows are a
  // batch: the choice may not depend on them.
  plan.on_tile_unit = tile_unit && !plan.few_rows && gemm.n >= amx::kBlock &&
                      gemm.k >= amx::kStep && (!gemm.transpose_a || gemm.m >= 2 * amx::kBlock);
  plan.by_columns = gemm.n >= 1024 && gemm.n >= 2 * gemm.m;
  int64_t most = GemmPlan::kMaxKBlock;
  if (plan.on_tile_unit && !plan.by_columns && gemm.n * most > GemmPlan::kPackedInCache) {
    // B does not stay in the second-level cache: then a panel of A in the first. (The unit goes on
    // with its sums from block to block as within one: this changes no bit.)
    most = 4 * amx::kStep;
  }
  const int64_t k_blocks = std::max<int64_t>(1, GemmPlan::ceil(gemm.k, most));
  plan.k_block = GemmPlan::round_up(GemmPlan::ceil(gemm.k, k_blocks),
                                    plan.on_tile_unit ? amx::kStep : int64_t{8});
  if (plan.few_rows || plan.by_columns) {
    plan.column_tasks = GemmPlan::ceil(gemm.n, GemmPlan::kColumnTask);
    return plan;
  }
  // Columns of B that stay in the second-level cache while the rows of A pass.
  constexpr int64_t kCacheFloats = 192 * 1024;
  plan.column_tasks = std::max<int64_t>(1, GemmPlan::ceil(gemm.n * plan.k_block, kCacheFloats));
  // Enough work a task that handing it out costs nothing.
  const double work = 2.0 * static_cast<double>(gemm.m) * static_cast<double>(gemm.n) *
                      static_cast<double>(plan.k_block);
  const double task_work = plan.on_tile_unit ? 4e6 : 1e6;
  const int64_t tasks = static_cast<int64_t>(std::clamp(work / task_work, 1.0, 64.0));
  const int64_t row_panel = plan.on_tile_unit ? amx::kBlock : GemmPlan::kRowPanel;
  const int64_t panels = std::max<int64_t>(1, GemmPlan::ceil(gemm.m, row_panel));
  plan.row_tasks = std::min(panels, std::max<int64_t>(1, tasks / plan.column_tasks));
  // Few columns a task would have the tile unit's A packed again and again, or from afar.
  const int64_t enough = plan.on_tile_unit ? std::min<int64_t>(tasks, 8) : tasks;
  if (plan.row_tasks * plan.column_tasks < enough) {
    const int64_t b_panels = std::max<int64_t>(1, GemmPlan::ceil(gemm.n, GemmPlan::kPanel));
    plan.column_tasks = std::min(b_panels, GemmPlan::ceil(tasks, plan.row_tasks));
  }
  constexpr int64_t kPackFloats = int64_t{1} << 21;
  const bool read_with_strides = gemm.transpose_a && gemm.lda >= GemmPlan::kNearRows;
  plan.pack_a_first = (plan.on_tile_unit ? plan.column_tasks > 1 : read_with_strides) &&
                      gemm.m * plan.k_block <= kPackFloats;
  return plan;
}

namespace {

size_t scratch_of(const Gemm& gemm, const GemmPlan& plan) {
  if (plan.few_rows) return 0;
  if (plan.on_tile_unit) {
    int64_t panels = plan.by_columns ? 0 : GemmPlan::ceil(gemm.n, amx::kBlock);
    if (plan.by_columns || plan.pack_a_first) panels += GemmPlan::ceil(gemm.m, amx::kBlock);
    return static_cast<size_t>(panels * (plan.k_block / amx::kStep) * amx::kStepBytes);
  }
  int64_t extent = 0;
  if (!plan.by_columns) extent += GemmPlan::round_up(gemm.n, GemmPlan::kPanel);
  if (plan.pack_a_first || (plan.by_columns && gemm.transpose_a)) {
    extent += GemmPlan::round_up(gemm.m, GemmPlan::kRowPanel);
  }
  return sizeof(float) * static_cast<size_t>(extent * plan.k_block);
}

}  // namespace

size_t gemm_scratch(const Gemm& gemm) {
  // Whichever instruction set may yet be forced.
  return std::max(scratch_of(gemm, plan_gemm(gemm, false)),
                  amx::available() ? scratch_of(gemm, plan_gemm(gemm, true)) : 0);
}

void gemm(const Context& context, const Gemm& gemm, std::byte* scratch) {
  if (gemm.m <= 0 || gemm.n <= 0) return;
  HWY_DYNAMIC_DISPATCH(run_gemm)(context, gemm, scratch);
}

size_t column_sum_scratch(int64_t m, int64_t n) {
  return sizeof(float) * static_cast<size_t>(GemmPlan::ceil(m, int64_t{64}) * n);
}

void column_sum(const Context& context, const float* x, int64_t m, int64_t n, float* out,
                bool accumulate, std::byte* scratch) {
  HWY_DYNAMIC_DISPATCH(sum_columns)
  (context, x, m, n, out, accumulate, reinterpret_cast<float*>(scratch));
}

}  // namespace quern::kernels::cpu
#endif
