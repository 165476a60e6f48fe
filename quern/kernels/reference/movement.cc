#include "quern/kernels/reference/movement.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace quern::kernels::reference {
namespace {

void store(float& target, double value, bool accumulate) {
  target = static_cast<float>(accumulate ? static_cast<double>(target) + value : value);
}

int64_t valid(const cpu::Reduce& reduce, int64_t batch) {
  return reduce.lengths == nullptr ? reduce.length
                                   : std::clamp<int64_t>(reduce.lengths[batch], 0, reduce.length);
}

}  // namespace

void copy_blocks(const std::byte* from, size_t from_stride, std::byte* to, size_t to_stride,
                 int64_t blocks, size_t block_bytes) {
  for (size_t i = 0; i < static_cast<size_t>(blocks); ++i) {
    for (size_t j = 0; j < block_bytes; ++j) to[i * to_stride + j] = from[i * from_stride + j];
  }
}

void add_blocks(const float* from, int64_t from_stride, float* to, int64_t to_stride,
                int64_t blocks, int64_t width) {
  for (int64_t i = 0; i < blocks; ++i) {
    for (int64_t j = 0; j < width; ++j)
      store(to[i * to_stride + j], static_cast<double>(from[i * from_stride + j]), true);
  }
}

void fill_zero(float* x, int64_t count) {
  for (int64_t i = 0; i < count; ++i) x[i] = 0;
}

void multiply_into(const float* a, const float* b, int64_t count, int64_t period, float* c,
                   bool accumulate) {
  for (int64_t i = 0; i < count; ++i)
    store(c[i], static_cast<double>(a[i]) * static_cast<double>(b[i % period]), accumulate);
}

void member_scale(const cpu::MemberScale& s, const float* x, const float* scale, float* y) {
  for (int64_t i = 0; i < s.rows * s.members * s.width; ++i) {
    const int64_t b = i / (s.members * s.width);
    const double product = static_cast<double>(x[b * s.width + i % s.width]) *
                           static_cast<double>(scale[i % (s.members * s.width)]);
    store(y[i], product, false);
  }
}

void member_scale_backward(const cpu::MemberScale& s, const float* x, const float* scale,
                           const float* y_grad, float* x_grad, bool accumulate_x, float* scale_grad,
                           bool accumulate_scale) {
  const auto at = [&](const float* values, int64_t i) { return static_cast<double>(values[i]); };
  const int64_t row = s.members * s.width;
  for (int64_t i = 0; x_grad != nullptr && i < s.rows * s.width; ++i) {
    double sum = 0;
    for (int64_t k = 0; k < s.members; ++k) {
      const int64_t j = k * s.width + i % s.width;
      sum += at(y_grad, i / s.width * row + j) * at(scale, j);
    }
    store(x_grad[i], sum, accumulate_x);
  }
  for (int64_t j = 0; scale_grad != nullptr && j < row; ++j) {
    double sum = 0;
    for (int64_t b = 0; b < s.rows; ++b)
      sum += at(y_grad, b * row + j) * at(x, b * s.width + j % s.width);
    store(scale_grad[j], sum, accumulate_scale);
  }
}

void gather_rows(const cpu::Gather& gather, const float* x, float* y) {
  for (int64_t b = 0; b < gather.batch; ++b) {
    for (int64_t j = 0; j < gather.width; ++j)
      y[b * gather.width + j] = x[(b * gather.length + gather.rows[b]) * gather.width + j];
  }
}

void gather_rows_backward(const cpu::Gather& gather, const float* y_grad, float* x_grad,
                          bool accumulate) {
  for (int64_t i = 0; i < gather.batch * gather.length * gather.width; ++i) {
    const int64_t b = i / (gather.length * gather.width);
    const bool chosen = i / gather.width % gather.length == gather.rows[b];
    const double value =
        chosen ? static_cast<double>(y_grad[b * gather.width + i % gather.width]) : 0.0;
    store(x_grad[i], value, accumulate);
  }
}

void reduce(const cpu::Reduce& reduce, const float* x, float* y) {
  for (int64_t b = 0; b < reduce.batch; ++b) {
    for (int64_t j = 0; j < reduce.width; ++j) {
      double sum = 0;
      for (int64_t t = 0; t < valid(reduce, b); ++t)
        sum += static_cast<double>(x[(b * reduce.length + t) * reduce.width + j]);
      if (reduce.mean && valid(reduce, b) > 0) sum /= static_cast<double>(valid(reduce, b));
      y[b * reduce.width + j] = static_cast<float>(sum);
    }
  }
}

void reduce_backward(const cpu::Reduce& reduce, const float* y_grad, float* x_grad,
                     bool accumulate) {
  for (int64_t b = 0; b < reduce.batch; ++b) {
    for (int64_t t = 0; t < reduce.length; ++t) {
      for (int64_t j = 0; j < reduce.width; ++j) {
        double value = t < valid(reduce, b) ? static_cast<double>(y_grad[b * reduce.width + j]) : 0;
        if (reduce.mean && t < valid(reduce, b)) value /= static_cast<double>(valid(reduce, b));
        store(x_grad[(b * reduce.length + t) * reduce.width + j], value, accumulate);
      }
    }
  }
}

void softmax_backward(const float* y, const float* y_grad, int64_t rows, int64_t classes,
                      float* x_grad, bool accumulate) {
  // dL/dx_i = Σ_j dL/dy_j · y_j (δ_ij - y_i); all of a row before any is written, as they may share
  // memory.
  std::vector<double> row_grad(static_cast<size_t>(classes));
  for (int64_t row = 0; row < rows; ++row) {
    const float* p = y + row * classes;
    const float* g = y_grad + row * classes;
    for (int64_t i = 0; i < classes; ++i) {
      double sum = 0;
      for (int64_t j = 0; j < classes; ++j) {
        sum += static_cast<double>(g[j]) * static_cast<double>(p[j]) *
               ((i == j ? 1.0 : 0.0) - static_cast<double>(p[i]));
      }
      row_grad[static_cast<size_t>(i)] = sum;
    }
    for (int64_t i = 0; i < classes; ++i)
      store(x_grad[row * classes + i], row_grad[static_cast<size_t>(i)], accumulate);
  }
}

void cache_write(const cpu::CacheWrite& w) {
  const int64_t heads = w.heads + 2 * w.kv_heads;
  for (int64_t b = 0; b < w.batch; ++b) {
    for (int64_t t = 0; t < w.rows; ++t) {
      for (int64_t h = 0; h < w.kv_heads; ++h) {
        for (int64_t d = 0; d < w.head_dim; ++d) {
          const float* row = w.qkv + (b * w.rows + t) * heads * w.head_dim;
          const int64_t slot =
              ((b * w.kv_heads + h) * w.capacity + w.offsets[b] + t) * w.head_dim + d;
          w.k_cache[slot] = row[(w.heads + h) * w.head_dim + d];
          w.v_cache[slot] = row[(w.heads + w.kv_heads + h) * w.head_dim + d];
        }
      }
    }
  }
}

namespace {

/// The value of a small float format from its fields.
double decode(uint32_t bits, int exponent_bits, int mantissa_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const auto mantissa = static_cast<double>(bits & ((1U << mantissa_bits) - 1));
  const int exponent = static_cast<int>(bits >> mantissa_bits & ((1U << exponent_bits) - 1));
  const double sign = (bits >> (exponent_bits + mantissa_bits) & 1U) != 0 ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1) return mantissa == 0 ? sign * INFINITY : NAN;
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - mantissa_bits);
  return sign *
         std::ldexp(mantissa + std::ldexp(1.0, mantissa_bits), exponent - bias - mantissa_bits);
}

/// The nearest of all values of the format, ties to the even pattern: by search, not by arithmetic.
uint16_t encode(double value, int exponent_bits, int mantissa_bits) {
  const uint32_t infinity = ((1U << exponent_bits) - 1) << mantissa_bits;
  const uint32_t sign = std::signbit(value) ? 1U << (exponent_bits + mantissa_bits) : 0;
  if (std::isnan(value)) return static_cast<uint16_t>(sign | infinity | 1U << (mantissa_bits - 1));
  const double magnitude = std::fabs(value);
  uint32_t low = 0;  // the largest pattern not above the magnitude: patterns are ordered
  for (uint32_t high = infinity; low < high;) {
    const uint32_t middle = (low + high + 1) / 2;
    if (decode(middle, exponent_bits, mantissa_bits) <= magnitude) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  if (low == infinity) return static_cast<uint16_t>(sign | low);
  const double below = decode(low, exponent_bits, mantissa_bits);
  // One unit above the largest finite value stands for infinity.
  const double above = low + 1 == infinity
                           ? 2 * below - decode(low - 1, exponent_bits, mantissa_bits)
                           : decode(low + 1, exponent_bits, mantissa_bits);
  const double gap = (magnitude - below) - (above - magnitude);
  if (gap > 0 || (gap == 0 && (low & 1U) != 0)) ++low;
  return static_cast<uint16_t>(sign | low);
}

double load(const void* from, DType dtype, int64_t i) {
  switch (dtype) {
    case DType::kF32:
      return static_cast<double>(static_cast<const float*>(from)[i]);
    case DType::kF64:
      return static_cast<const double*>(from)[i];
    case DType::kF16:
      return decode(static_cast<const uint16_t*>(from)[i], 5, 10);
    case DType::kBF16:
      return decode(static_cast<const uint16_t*>(from)[i], 8, 7);
    case DType::kI32:
      return static_cast<double>(static_cast<const int32_t*>(from)[i]);
    default:
      return static_cast<double>(static_cast<const int64_t*>(from)[i]);
  }
}

void store(void* to, DType dtype, int64_t i, double value) {
  switch (dtype) {
    case DType::kF32:
      static_cast<float*>(to)[i] = static_cast<float>(value);
      break;
    case DType::kF64:
      static_cast<double*>(to)[i] = value;
      break;
    case DType::kF16:
      static_cast<uint16_t*>(to)[i] = encode(value, 5, 10);
      break;
    case DType::kBF16:
      static_cast<uint16_t*>(to)[i] = encode(value, 8, 7);
      break;
    case DType::kI32:
      static_cast<int32_t*>(to)[i] = static_cast<int32_t>(value);
      break;
    default:
      static_cast<int64_t*>(to)[i] = static_cast<int64_t>(value);
  }
}

}  // namespace

void cast(const void* from, DType from_dtype, void* to, DType to_dtype, int64_t count,
          bool accumulate) {
  for (int64_t i = 0; i < count; ++i) {
    const double value = load(from, from_dtype, i);
    store(to, to_dtype, i, accumulate ? load(to, to_dtype, i) + value : value);
  }
}

}  // namespace quern::kernels::reference
