#pragma once

#include <cstddef>
#include <cstdint>

#include "quern/kernels/cpu/context.h"
#include "quern/tensor/dtype.h"

// Kernels that move data, or sum it over positions: bound by memory, so plain loops.
namespace quern::kernels::cpu {

/// `blocks` runs of `block_bytes`, from every `from_stride` to every `to_stride` bytes: slices and
/// joins along any axis.
void copy_blocks(const Context& context, const std::byte* from, size_t from_stride, std::byte* to,
                 size_t to_stride, int64_t blocks, size_t block_bytes);
/// The same of floats, added; strides in floats.
void add_blocks(const Context& context, const float* from, int64_t from_stride, float* to,
                int64_t to_stride, int64_t blocks, int64_t width);
void fill_zero(const Context& context, float* x, int64_t count);

/// c (+)= a · b, with b repeated every `period` elements. c may be a.
void multiply_into(const Context& context, const float* a, const float* b, int64_t count,
                   int64_t period, float* c, bool accumulate);

/// y (rows, members, width): row by row, x (rows, width) times each row of scale (members, width).
struct MemberScale {
  int64_t rows = 0, members = 0, width = 0;
};
void member_scale(const Context& context, const MemberScale& shape, const float* x,
                  const float* scale, float* y);
/// x_grad (rows, width) and scale_grad (members, width); either may be null.
void member_scale_backward(const Context& context, const MemberScale& shape, const float* x,
                           const float* scale, const float* y_grad, float* x_grad,
                           bool accumulate_x, float* scale_grad, bool accumulate_scale);

/// y (batch, width) = x (batch, length, width) at position rows[b] of each sequence. Throws Error
/// on a row outside the sequence.
struct Gather {
  int64_t batch = 0, length = 0, width = 0;
  const int32_t* rows = nullptr;  // (batch)
};
void gather_rows(const Context& context, const Gather& gather, const float* x, float* y);
void gather_rows_backward(const Context& context, const Gather& gather, const float* y_grad,
                          float* x_grad, bool accumulate);

/// y (batch, width) = the sum of x (batch, length, width) over the first lengths[b] positions
/// (null: all), or their mean; an empty sequence gives 0.
struct Reduce {
  int64_t batch = 0, length = 0, width = 0;
  bool mean = true;
  const int32_t* lengths = nullptr;  // (batch) or null
};
void reduce(const Context& context, const Reduce& reduce, const float* x, float* y);
void reduce_backward(const Context& context, const Reduce& reduce, const float* y_grad,
                     float* x_grad, bool accumulate);

/// x_grad (+)= y ∘ (y_grad - Σ y ∘ y_grad) of each row, y being the softmax. x_grad may be y_grad.
void softmax_backward(const Context& context, const float* y, const float* y_grad, int64_t rows,
                      int64_t classes, float* x_grad, bool accumulate);

/// Keys and values of packed qkv (batch, rows, (heads + 2 kv_heads) · head_dim) into caches (batch,
/// kv_heads, capacity, head_dim) at offsets[b] + t. Throws Error when a row does not fit.
template <typename T>
struct CacheWriteOf {
  int64_t batch = 0, rows = 0, heads = 0, kv_heads = 0, head_dim = 0, capacity = 0;
  const T* qkv = nullptr;
  const int32_t* offsets = nullptr;  // (batch)
  T* k_cache = nullptr;
  T* v_cache = nullptr;
};
using CacheWrite = CacheWriteOf<float>;
void cache_write(const Context& context, const CacheWrite& write);

/// Between F32, F64, F16, BF16, I32 and I64: floats round to nearest even, float to integer
/// truncates. With accumulate: to += from.
bool can_cast(DType dtype);
void cast(const Context& context, const void* from, DType from_dtype, void* to, DType to_dtype,
          int64_t count, bool accumulate);

}  // namespace quern::kernels::cpu
