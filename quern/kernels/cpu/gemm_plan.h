#pragma once

#include <algorithm>
#include <cstdint>

#include "quern/kernels/cpu/gemm.h"

namespace quern::kernels::cpu {

/// How gemm() cuts its work: by the shape only. An element of C is one chain of fused multiply-adds
/// in the order of k within each block of k, or on the tile unit of steps over all of k, whatever
/// the tiles, so it depends neither on the number of threads nor on how many rows are computed
/// together (m > 8).
struct GemmPlan {
  // A row or a few times a linear layer's weight: every weight is read once, nothing is packed.
  bool few_rows = false;
  // True: B is too large to pack beforehand: each task packs its columns of B for itself and
  // multiplies all rows. False: B is packed beforehand, and a task has some rows and columns.
  bool by_columns = false;
  // A is small enough that all pack it beforehand, and stands by columns (whole rows of it are then
  // read; A by rows is multiplied where it stands) or, for the tile unit, is needed by several
  // tasks.
  bool pack_a_first = false;
  // Packed in parts for the tile unit (amx.h): A and B both, by whom `by_columns` says.
  bool on_tile_unit = false;
  int64_t k_block = 0;  // of A and B packed at a time
  int64_t row_tasks = 1, column_tasks = 1;

  static constexpr int64_t kFewRows = 8;
  static constexpr int64_t kMaxKBlock = 512;
  static constexpr int64_t kPanel = 32;  // the widest tile of any instruction set
  static constexpr int64_t kColumnTask = 2 * kPanel;
  static constexpr int64_t kRowPanel = 12;
  static constexpr int64_t kPackedInCache = 200 * 1024;  // numbers packed for the tile unit
  static constexpr int64_t kGroup = 4;                   // panels of A that a task packs at a time

  // Columns of A are read where they stand while the next row is within the reach of the hardware's
  // stride prefetcher, 2 KiB.
  static constexpr int64_t kNearRows = 512;
  static constexpr int64_t ceil(int64_t a, int64_t b) { return (a + b - 1) / b; }
  static constexpr int64_t round_up(int64_t a, int64_t b) { return ceil(a, b) * b; }
};

/// With `tile_unit`, for a processor that has one and may use it.
GemmPlan plan_gemm(const Gemm& gemm, bool tile_unit);

}  // namespace quern::kernels::cpu
