// Kernels that move data, or sum it over positions. A sum is one thread's, in the order of its
// terms.

#include "quern/kernels/cuda/arguments.h"
#include "quern/kernels/cuda/faults.h"
#include "quern/kernels/cuda/simt.h"

namespace quern::kernels::cuda {

QUERN_KERNEL(quern_move_words, arguments::Blocks) {
  const float* from = reinterpret_cast<const float*>(a.from);
  float* to = reinterpret_cast<float*>(a.to);
  for (int64_t i = grid_thread(); i < a.blocks * a.width; i += grid_threads()) {
    const int64_t block = i / a.width;
    const int64_t word = i % a.width;
    store(to + block * a.to_stride + word, from[block * a.from_stride + word], a.add);
  }
}

QUERN_KERNEL(quern_move_bytes, arguments::Blocks) {
  for (int64_t i = grid_thread(); i < a.blocks * a.width; i += grid_threads()) {
    const int64_t block = i / a.width;
    const int64_t byte = i % a.width;
    a.to[block * a.to_stride + byte] = a.from[block * a.from_stride + byte];
  }
}

QUERN_KERNEL(quern_member_scale, arguments::MemberScale) {
  const cpu::MemberScale& s = a.shape;
  const int64_t row = s.members * s.width;
  for (int64_t i = grid_thread(); i < s.rows * row; i += grid_threads())
    a.y[i] = a.x[i / row * s.width + i % s.width] * a.scale[i % row];
}

QUERN_KERNEL(quern_member_scale_backward_x, arguments::MemberScale) {
  const cpu::MemberScale& s = a.shape;
  for (int64_t i = grid_thread(); i < s.rows * s.width; i += grid_threads()) {
    float sum = 0;
    for (int64_t k = 0; k < s.members; ++k) {
      const int64_t j = k * s.width + i % s.width;
      sum += a.y_grad[i / s.width * s.members * s.width + j] * a.scale[j];
    }
    store(a.y + i, sum, a.accumulate);
  }
}

QUERN_KERNEL(quern_member_scale_backward_scale, arguments::MemberScale) {
  const cpu::MemberScale& s = a.shape;
  const int64_t row = s.members * s.width;
  for (int64_t j = grid_thread(); j < row; j += grid_threads()) {
    float sum = 0;
    for (int64_t b = 0; b < s.rows; ++b)
      sum += a.y_grad[b * row + j] * a.x[b * s.width + j % s.width];
    store(a.scale_grad + j, sum, a.accumulate_scale);
  }
}

QUERN_TYPED_KERNEL(quern_gather_rows, arguments::Gather) {
  const cpu::Gather& g = a.gather;
  for (int64_t i = grid_thread(); i < g.batch * g.width; i += grid_threads()) {
    const int64_t b = i / g.width;
    const int64_t row = g.rows[b];
    if (row < 0 || row >= g.length) {
      *a.fault = kGatherFault;
      continue;
    }
    a.y[i] = a.x[(b * g.length + row) * g.width + i % g.width];
  }
}

QUERN_TYPED_KERNEL(quern_gather_rows_backward, arguments::Gather) {
  const cpu::Gather& g = a.gather;
  for (int64_t i = grid_thread(); i < g.batch * g.length * g.width; i += grid_threads()) {
    const int64_t b = i / (g.length * g.width);
    const bool chosen = i / g.width % g.length == g.rows[b];
    store(a.y + i, chosen ? static_cast<float>(a.x[b * g.width + i % g.width]) : 0.0F,
          a.accumulate);
  }
}

QUERN_KERNEL(quern_reduce, arguments::Reduce) {
  const cpu::Reduce& r = a.reduce;
  for (int64_t i = grid_thread(); i < r.batch * r.width; i += grid_threads()) {
    const int64_t b = i / r.width;
    const int64_t valid = valid_length(r.lengths, b, r.length);
    float sum = 0;
    for (int64_t t = 0; t < valid; ++t) sum += a.x[(b * r.length + t) * r.width + i % r.width];
    a.y[i] = r.mean && valid > 0 ? sum / static_cast<float>(valid) : sum;
  }
}

QUERN_KERNEL(quern_reduce_backward, arguments::Reduce) {
  const cpu::Reduce& r = a.reduce;
  for (int64_t i = grid_thread(); i < r.batch * r.length * r.width; i += grid_threads()) {
    const int64_t b = i / (r.length * r.width);
    const int64_t valid = valid_length(r.lengths, b, r.length);
    float value = 0;
    if (i / r.width % r.length < valid) {
      value = a.x[b * r.width + i % r.width];
      if (r.mean) value /= static_cast<float>(valid);
    }
    store(a.y + i, value, a.accumulate);
  }
}

QUERN_TYPED_KERNEL(quern_cache_write, arguments::CacheWrite) {
  const cpu::CacheWriteOf<T>& w = a.write;
  const int64_t row_width = (w.heads + 2 * w.kv_heads) * w.head_dim;
  const int64_t count = w.batch * w.rows * w.kv_heads * w.head_dim;
  for (int64_t i = grid_thread(); i < count; i += grid_threads()) {
    const int64_t d = i % w.head_dim;
    const int64_t h = i / w.head_dim % w.kv_heads;
    const int64_t t = i / (w.head_dim * w.kv_heads) % w.rows;
    const int64_t b = i / (w.head_dim * w.kv_heads * w.rows);
    const int64_t slot = w.offsets[b] + t;
    if (slot < 0 || slot >= w.capacity) {
      *a.fault = kCacheFault;
      continue;
    }
    const T* row = w.qkv + (b * w.rows + t) * row_width;
    const int64_t at = ((b * w.kv_heads + h) * w.capacity + slot) * w.head_dim + d;
    w.k_cache[at] = row[(w.heads + h) * w.head_dim + d];
    w.v_cache[at] = row[(w.heads + w.kv_heads + h) * w.head_dim + d];
  }
}

}  // namespace quern::kernels::cuda
