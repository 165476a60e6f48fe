// Tables by id. The gradient of a table is deterministic without a float atomic: the ids are sorted
// with their rows, and each row of the table sums its own in that order.

#include "quern/kernels/cuda/arguments.h"
#include "quern/kernels/cuda/faults.h"
#include "quern/kernels/cuda/simt.h"

namespace quern::kernels::cuda {

QUERN_TYPED_KERNEL(quern_embedding_forward, arguments::Embedding) {
  const cpu::Embedding& e = a.embedding;
  for (int64_t i = grid_thread(); i < e.batch * e.length * e.width; i += grid_threads()) {
    const int64_t row = i / e.width;
    const int64_t column = i % e.width;
    float sum = 0;
    for (int64_t j = 0; j < e.bag; ++j) {
      const int64_t id = e.ids[row * e.bag + j];
      if (id >= e.vocabulary) *a.fault = kEmbeddingFault;
      if (id >= 0 && id < e.vocabulary) {
        sum += e.quantized.data != nullptr ? e.quantized.weight(id, column)
                                           : e.table[id * e.width + column];
      }
    }
    sum *= e.scale;
    if (e.positions != nullptr) {
      const int64_t offset = e.offsets != nullptr ? e.offsets[row / e.length] : 0;
      sum += e.positions[(offset + row % e.length) * e.width + column];
    }
    a.y[i] = sum;
  }
}

/// An id of -1 sorts behind all others.
QUERN_KERNEL(quern_embedding_keys, arguments::EmbeddingKeys) {
  const cpu::Embedding& e = a.embedding;
  for (int64_t i = grid_thread(); i < e.batch * e.length * e.bag; i += grid_threads()) {
    const auto id = static_cast<uint32_t>(e.ids[i]);
    a.keys[i] = uint64_t{id} << 32 | static_cast<uint32_t>(i);
  }
}

/// How many of the sorted keys are below `key`.
QUERN_DEVICE int64_t count_below(const uint64_t* keys, int64_t count, uint64_t key) {
  int64_t low = 0;
  for (int64_t high = count; low < high;) {
    const int64_t middle = (low + high) / 2;
    if (keys[middle] < key) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

/// Merges pairs of sorted runs: a key's place is its own in its run and, by search, that in the
/// other. Keys differ, since each has its row.
QUERN_KERNEL(quern_merge_runs, arguments::MergeRuns) {
  for (int64_t i = grid_thread(); i < a.count; i += grid_threads()) {
    const int64_t run = i / a.run;
    const int64_t other = smaller(a.count, (run ^ 1) * a.run);
    const int64_t others = smaller(a.count, other + a.run) - other;
    const int64_t below = count_below(a.from + other, others, a.from[i]);
    a.to[run / 2 * 2 * a.run + i % a.run + below] = a.from[i];
  }
}

/// A block a row of the table.
QUERN_TYPED_KERNEL(quern_embedding_table, arguments::EmbeddingTable) {
  const cpu::Embedding& e = a.embedding;
  const int64_t count = e.batch * e.length * e.bag;
  for (int64_t id = block_x(); id < e.vocabulary; id += blocks_x()) {
    const auto key = static_cast<uint64_t>(id);
    const int64_t begin = count_below(a.keys, count, key << 32);
    const int64_t end = count_below(a.keys, count, (key + 1) << 32);
    for (int64_t j = thread_index(); j < e.width; j += thread_count()) {
      float sum = 0;
      for (int64_t i = begin; i < end; ++i) {
        const auto row = static_cast<int64_t>(a.keys[i] & 0xFFFFFFFFU) / e.bag;
        sum += a.y_grad[row * e.width + j];
      }
      store(a.grad + id * e.width + j, e.scale * sum, a.accumulate);
    }
  }
}

/// A thread an element of the positions' gradient, which asks every sequence.
QUERN_TYPED_KERNEL(quern_embedding_positions, arguments::EmbeddingPositions) {
  const cpu::Embedding& e = a.embedding;
  for (int64_t i = grid_thread(); i < a.capacity * e.width; i += grid_threads()) {
    float sum = 0;
    for (int64_t b = 0; b < e.batch; ++b) {
      const int64_t t = i / e.width - (e.offsets != nullptr ? e.offsets[b] : 0);
      if (t < 0 || t >= e.length) continue;
      sum += a.y_grad[(b * e.length + t) * e.width + i % e.width];
    }
    store(a.grad + i, sum, a.accumulate);
  }
}

}  // namespace quern::kernels::cuda
