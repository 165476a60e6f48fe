#include "quern/kernels/cpu/attention_padding.h"

#include <algorithm>
#include <string>

#include "quern/base/error.h"

namespace quern::kernels::cpu {
namespace {

// from: element (b, t, h, d) at b * batch + t * row + h * head + d; to: (batches, rows, heads, D).
void copy_padded(const Context& context, const float* from, int64_t batch, int64_t row,
                 int64_t head, int64_t batches, int64_t rows, int64_t heads, int64_t head_dim,
                 float* to) {
  const int64_t padded = padded_head_dim(head_dim);
  context.pool.parallel_for(static_cast<size_t>(batches * heads), [&](size_t index, int) {
    const int64_t b = static_cast<int64_t>(index) / heads;
    const int64_t h = static_cast<int64_t>(index) % heads;
    for (int64_t t = 0; t < rows; ++t) {
      float* out = to + ((b * rows + t) * heads + h) * padded;
      std::copy_n(from + b * batch + t * row + h * head, head_dim, out);
      std::fill_n(out + head_dim, padded - head_dim, 0.0F);
    }
  });
}

}  // namespace

void check(const Attention& attention) {
  if (attention.head_dim < 1 || attention.head_dim > 512) {
    throw ShapeError(
        "attention: head_dim is " + std::to_string(attention.head_dim) + "; it must be 1 to 512",
        "use more heads for this width");
  }
}

int64_t padding_floats(const Attention& a) {
  const int64_t padded = padded_head_dim(a.head_dim);
  if (padded == a.head_dim) return 0;
  return a.batch * padded * (a.heads * a.queries + 2 * a.kv_heads * a.capacity);
}

Attention pad(const Context& context, const Attention& a, float* scratch) {
  const int64_t padded = padded_head_dim(a.head_dim);
  if (padded == a.head_dim) return a;
  Attention copy = a;
  float* q = scratch;
  float* k = q + a.batch * a.queries * a.heads * padded;
  float* v = k + a.batch * a.capacity * a.kv_heads * padded;
  copy_padded(context, a.q, a.q_batch, a.q_row, a.q_head, a.batch, a.queries, a.heads, a.head_dim,
              q);
  copy_padded(context, a.k, a.kv_batch, a.kv_row, a.kv_head, a.batch, a.capacity, a.kv_heads,
              a.head_dim, k);
  copy_padded(context, a.v, a.kv_batch, a.kv_row, a.kv_head, a.batch, a.capacity, a.kv_heads,
              a.head_dim, v);
  copy.q = q;
  copy.k = k;
  copy.v = v;
  copy.q_head = copy.kv_head = padded;
  copy.q_row = a.heads * padded;
  copy.q_batch = a.queries * copy.q_row;
  copy.kv_row = a.kv_heads * padded;
  copy.kv_batch = a.capacity * copy.kv_row;
  return copy;
}

const float* pad_output(const Context& context, const Attention& a, const float* x,
                        float* scratch) {
  if (padded_head_dim(a.head_dim) == a.head_dim) return x;
  const int64_t row = a.heads * a.head_dim;
  copy_padded(context, x, a.queries * row, row, a.head_dim, a.batch, a.queries, a.heads, a.head_dim,
              scratch);
  return scratch;
}

}  // namespace quern::kernels::cpu
