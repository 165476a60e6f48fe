#include "quern/kernels/cpu/movement.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "quern/base/error.h"

namespace quern::kernels::cpu {
namespace {

constexpr int64_t kGrain = 16384;  // elements a task

/// body(begin, end) over [0, count) in pieces of `grain`.
template <typename Body>
void parallel_ranges(const Context& context, int64_t count, int64_t grain, const Body& body) {
  if (count <= 0) return;
  grain = std::max<int64_t>(1, grain);
  const auto pieces = static_cast<size_t>((count + grain - 1) / grain);
  context.pool.parallel_for(pieces, [&](size_t piece, int) {
    const int64_t begin = static_cast<int64_t>(piece) * grain;
    body(begin, std::min(count, begin + grain));
  });
}

[[noreturn]] void out_of_range(const char* what, int64_t value, int64_t batch, int64_t limit) {
  throw Error("out_of_range",
              std::string(what) + " " + std::to_string(value) + " of batch row " +
                  std::to_string(batch) + " is outside [0, " + std::to_string(limit) + ")",
              "keep positions within the sequence or the cache");
}

}  // namespace

void copy_blocks(const Context& context, const std::byte* from, size_t from_stride, std::byte* to,
                 size_t to_stride, int64_t blocks, size_t block_bytes) {
  const auto grain = static_cast<int64_t>(4 * kGrain / std::max<size_t>(1, block_bytes));
  parallel_ranges(context, blocks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      std::memcpy(to + static_cast<size_t>(i) * to_stride,
                  from + static_cast<size_t>(i) * from_stride, block_bytes);
    }
  });
}

void add_blocks(const Context& context, const float* from, int64_t from_stride, float* to,
                int64_t to_stride, int64_t blocks, int64_t width) {
  const int64_t grain = kGrain / std::max<int64_t>(1, width);
  parallel_ranges(context, blocks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* source = from + i * from_stride;
      float* target = to + i * to_stride;
      for (int64_t j = 0; j < width; ++j) target[j] += source[j];
    }
  });
}

void fill_zero(const Context& context, float* x, int64_t count) {
  parallel_ranges(context, count, kGrain, [&](int64_t begin, int64_t end) {
    std::memset(x + begin, 0, static_cast<size_t>(end - begin) * sizeof(float));
  });
}

void multiply_into(const Context& context, const float* a, const float* b, int64_t count,
                   int64_t period, float* c, bool accumulate) {
  if (count == 0) return;
  const int64_t rows = count / period;
  // Pieces of whole rows, or of one long row.
  const int64_t grain = period >= kGrain ? kGrain : std::max<int64_t>(1, kGrain / period) * period;
  parallel_ranges(context, rows * period, grain, [&](int64_t begin, int64_t end) {
    int64_t j = begin % period;
    for (int64_t i = begin; i < end; ++i) {
      const float product = a[i] * b[j];
      c[i] = accumulate ? c[i] + product : product;
      if (++j == period) j = 0;
    }
  });
}

void member_scale(const Context& context, const MemberScale& s, const float* x, const float* scale,
                  float* y) {
  const int64_t row = s.members * s.width;
  parallel_ranges(context, s.rows, kGrain / std::max<int64_t>(1, row),
                  [&](int64_t begin, int64_t end) {
                    for (int64_t b = begin; b < end; ++b) {
                      const float* from = x + b * s.width;
                      for (int64_t k = 0; k < s.members; ++k) {
                        const float* factor = scale + k * s.width;
                        float* to = y + b * row + k * s.width;
                        for (int64_t j = 0; j < s.width; ++j) to[j] = from[j] * factor[j];
                      }
                    }
                  });
}

void member_scale_backward(const Context& context, const MemberScale& s, const float* x,
                           const float* scale, const float* y_grad, float* x_grad,
                           bool accumulate_x, float* scale_grad, bool accumulate_scale) {
  const int64_t row = s.members * s.width;
  if (x_grad != nullptr) {
    parallel_ranges(context, s.rows, kGrain / std::max<int64_t>(1, row),
                    [&](int64_t begin, int64_t end) {
                      for (int64_t b = begin; b < end; ++b) {
                        float* to = x_grad + b * s.width;
                        if (!accumulate_x) std::fill(to, to + s.width, 0.0F);
                        for (int64_t k = 0; k < s.members; ++k) {
                          const float* grad = y_grad + b * row + k * s.width;
                          const float* factor = scale + k * s.width;
                          for (int64_t j = 0; j < s.width; ++j) to[j] += grad[j] * factor[j];
                        }
                      }
                    });
  }
  if (scale_grad == nullptr) return;
  // Each element sums its rows in order, whoever computes it.
  parallel_ranges(context, row, std::max<int64_t>(64, kGrain / std::max<int64_t>(1, s.rows)),
                  [&](int64_t begin, int64_t end) {
                    if (!accumulate_scale) std::fill(scale_grad + begin, scale_grad + end, 0.0F);
                    for (int64_t b = 0; b < s.rows; ++b) {
                      const float* grad = y_grad + b * row;
                      const float* from = x + b * s.width;
                      int64_t j = begin % s.width;
                      for (int64_t i = begin; i < end;) {
                        const int64_t stop = std::min(end, i + s.width - j);
                        for (; i < stop; ++i, ++j) scale_grad[i] += grad[i] * from[j];
                        j = 0;
                      }
                    }
                  });
}

void gather_rows(const Context& context, const Gather& gather, const float* x, float* y) {
  parallel_ranges(context, gather.batch, kGrain / std::max<int64_t>(1, gather.width),
                  [&](int64_t begin, int64_t end) {
                    for (int64_t b = begin; b < end; ++b) {
                      const int64_t row = gather.rows[b];
                      if (row < 0 || row >= gather.length)
                        out_of_range("row", row, b, gather.length);
                      std::memcpy(y + b * gather.width,
                                  x + (b * gather.length + row) * gather.width,
                                  static_cast<size_t>(gather.width) * sizeof(float));
                    }
                  });
}

void gather_rows_backward(const Context& context, const Gather& gather, const float* y_grad,
                          float* x_grad, bool accumulate) {
  if (!accumulate) fill_zero(context, x_grad, gather.batch * gather.length * gather.width);
  parallel_ranges(context, gather.batch, kGrain / std::max<int64_t>(1, gather.width),
                  [&](int64_t begin, int64_t end) {
                    for (int64_t b = begin; b < end; ++b) {
                      const int64_t row = gather.rows[b];
                      if (row < 0 || row >= gather.length)
                        out_of_range("row", row, b, gather.length);
                      const float* source = y_grad + b * gather.width;
                      float* target = x_grad + (b * gather.length + row) * gather.width;
                      for (int64_t j = 0; j < gather.width; ++j) target[j] += source[j];
                    }
                  });
}

namespace {
int64_t valid_length(const Reduce& reduce, int64_t batch) {
  if (reduce.lengths == nullptr) return reduce.length;
  return std::clamp<int64_t>(reduce.lengths[batch], 0, reduce.length);
}
float reduce_factor(const Reduce& reduce, int64_t valid) {
  return reduce.mean && valid > 0 ? 1.0F / static_cast<float>(valid) : 1.0F;
}
}  // namespace

void reduce(const Context& context, const Reduce& reduce, const float* x, float* y) {
  // Columns are split too: a batch may be one sequence. Each column is summed in order.
  constexpr int64_t kColumns = 256;
  const int64_t strips = (reduce.width + kColumns - 1) / kColumns;
  parallel_ranges(context, reduce.batch * strips, 1, [&](int64_t task, int64_t) {
    const int64_t b = task / strips;
    const int64_t begin = task % strips * kColumns;
    const int64_t end = std::min(reduce.width, begin + kColumns);
    const int64_t valid = valid_length(reduce, b);
    double sums[kColumns] = {};
    for (int64_t t = 0; t < valid; ++t) {
      const float* row = x + (b * reduce.length + t) * reduce.width;
      for (int64_t j = begin; j < end; ++j) sums[j - begin] += static_cast<double>(row[j]);
    }
    const double factor = reduce.mean && valid > 0 ? 1.0 / static_cast<double>(valid) : 1.0;
    for (int64_t j = begin; j < end; ++j)
      y[b * reduce.width + j] = static_cast<float>(sums[j - begin] * factor);
  });
}

void reduce_backward(const Context& context, const Reduce& reduce, const float* y_grad,
                     float* x_grad, bool accumulate) {
  parallel_ranges(context, reduce.batch * reduce.length,
                  kGrain / std::max<int64_t>(1, reduce.width), [&](int64_t begin, int64_t end) {
                    for (int64_t row = begin; row < end; ++row) {
                      const int64_t b = row / reduce.length;
                      const int64_t valid = valid_length(reduce, b);
                      const float factor =
                          row % reduce.length < valid ? reduce_factor(reduce, valid) : 0.0F;
                      const float* source = y_grad + b * reduce.width;
                      float* target = x_grad + row * reduce.width;
                      for (int64_t j = 0; j < reduce.width; ++j) {
                        const float value = factor * source[j];
                        target[j] = accumulate ? target[j] + value : value;
                      }
                    }
                  });
}

void softmax_backward(const Context& context, const float* y, const float* y_grad, int64_t rows,
                      int64_t classes, float* x_grad, bool accumulate) {
  parallel_ranges(context, rows, kGrain / std::max<int64_t>(1, classes),
                  [&](int64_t begin, int64_t end) {
                    for (int64_t row = begin; row < end; ++row) {
                      const float* p = y + row * classes;
                      const float* g = y_grad + row * classes;
                      float* out = x_grad + row * classes;
                      double dot = 0;
                      for (int64_t j = 0; j < classes; ++j)
                        dot += static_cast<double>(p[j]) * static_cast<double>(g[j]);
                      for (int64_t j = 0; j < classes; ++j) {
                        const float value = p[j] * (g[j] - static_cast<float>(dot));
                        out[j] = accumulate ? out[j] + value : value;
                      }
                    }
                  });
}

void cache_write(const Context& context, const CacheWrite& w) {
  const int64_t row_width = (w.heads + 2 * w.kv_heads) * w.head_dim;
  const auto bytes = static_cast<size_t>(w.head_dim) * sizeof(float);
  parallel_ranges(context, w.batch * w.rows, kGrain / std::max<int64_t>(1, row_width),
                  [&](int64_t begin, int64_t end) {
                    for (int64_t i = begin; i < end; ++i) {
                      const int64_t b = i / w.rows;
                      const int64_t position = w.offsets[b] + i % w.rows;
                      if (position < 0 || position >= w.capacity)
                        out_of_range("cache position", position, b, w.capacity);
                      const float* k = w.qkv + i * row_width + w.heads * w.head_dim;
                      const float* v = k + w.kv_heads * w.head_dim;
                      for (int64_t h = 0; h < w.kv_heads; ++h) {
                        const int64_t slot =
                            ((b * w.kv_heads + h) * w.capacity + position) * w.head_dim;
                        std::memcpy(w.k_cache + slot, k + h * w.head_dim, bytes);
                        std::memcpy(w.v_cache + slot, v + h * w.head_dim, bytes);
                      }
                    }
                  });
}

}  // namespace quern::kernels::cpu
