// What several GPUs that train one model compute on the gradients that they exchange.

#include "quern/kernels/cuda/arguments.h"
#include "quern/kernels/cuda/simt.h"

namespace quern::kernels::cuda {

QUERN_DEVICE float* part_of(const arguments::TreeAdd& a, int64_t rank) {
  if (rank == a.rank) return a.own;
  return a.incoming + (rank < a.rank ? rank : rank - 1) * a.stride;
}

/// The ranks' parts, neighbours first, as train::tree_add adds them. Overwrites them all.
QUERN_KERNEL(quern_tree_add, arguments::TreeAdd) {
  for (int64_t k = grid_thread(); k < a.count; k += grid_threads()) {
    for (int64_t stride = 1; stride < a.ranks; stride *= 2) {
      for (int64_t i = 0; i + stride < a.ranks; i += 2 * stride)
        part_of(a, i)[k] += part_of(a, i + stride)[k];
    }
    if (a.rank != 0) a.own[k] = part_of(a, 0)[k];
  }
}

/// Σ x² of each unit in float64, a block for each: the bits depend on the unit alone.
QUERN_COOPERATIVE_KERNEL(quern_unit_squares, arguments::UnitSquares) {
  QUERN_SHARED double sums[256];
  for (int64_t unit = block_x(); unit < a.units; unit += blocks_x()) {
    double sum = 0;
    for (int64_t i = a.bounds[unit] + thread_index(); i < a.bounds[unit + 1]; i += thread_count())
      sum += static_cast<double>(a.x[i]) * static_cast<double>(a.x[i]);
    sums[thread_index()] = sum;
    for (int64_t half = thread_count() / 2; half > 0; half /= 2) {
      barrier();
      if (thread_index() < half) sums[thread_index()] += sums[thread_index() + half];
    }
    if (thread_index() == 0) a.squares[unit] = sums[0];
    barrier();
  }
}

}  // namespace quern::kernels::cuda
