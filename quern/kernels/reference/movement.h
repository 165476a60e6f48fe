#pragma once

#include "quern/kernels/cpu/movement.h"

// What the kernels of cpu/movement.h compute: plain loops, one element at a time, sums in float64.
namespace quern::kernels::reference {

void copy_blocks(const std::byte* from, size_t from_stride, std::byte* to, size_t to_stride,
                 int64_t blocks, size_t block_bytes);
void add_blocks(const float* from, int64_t from_stride, float* to, int64_t to_stride,
                int64_t blocks, int64_t width);
void fill_zero(float* x, int64_t count);
void multiply_into(const float* a, const float* b, int64_t count, int64_t period, float* c,
                   bool accumulate);
void member_scale(const cpu::MemberScale& shape, const float* x, const float* scale, float* y);
void member_scale_backward(const cpu::MemberScale& shape, const float* x, const float* scale,
                           const float* y_grad, float* x_grad, bool accumulate_x, float* scale_grad,
                           bool accumulate_scale);
void gather_rows(const cpu::Gather& gather, const float* x, float* y);
void gather_rows_backward(const cpu::Gather& gather, const float* y_grad, float* x_grad,
                          bool accumulate);
void reduce(const cpu::Reduce& reduce, const float* x, float* y);
void reduce_backward(const cpu::Reduce& reduce, const float* y_grad, float* x_grad,
                     bool accumulate);
void softmax_backward(const float* y, const float* y_grad, int64_t rows, int64_t classes,
                      float* x_grad, bool accumulate);
void cache_write(const cpu::CacheWrite& write);
void cast(const void* from, DType from_dtype, void* to, DType to_dtype, int64_t count,
          bool accumulate);

}  // namespace quern::kernels::reference
