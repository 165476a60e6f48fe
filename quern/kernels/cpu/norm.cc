#include "quern/kernels/cpu/norm.h"

#include <algorithm>
#include <cmath>

#include "quern/kernels/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quern/kernels/cpu/norm.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "quern/kernels/cpu/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quern::kernels::cpu {
namespace HWY_NAMESPACE {
namespace {

void NormForward(const cpu::Norm& norm, int64_t begin, int64_t end, float* y, float* sum,
                 float* statistics) {
  const int64_t width = norm.width;
  const float inverse_width = 1.0F / static_cast<float>(width);
  for (int64_t row = begin; row < end; ++row) {
    const float* x = norm.x + row * width;
    Sum total;
    if (norm.residual) {
      const float* residual = norm.residual + row * width;
      float* to = sum + row * width;
      for_vectors(0, width, [&](auto part, int64_t i) HWY_ATTR {
        const FloatVec v = hn::Add(part.load(x + i), part.load(residual + i));
        part.store(v, to + i);
        total.a = hn::Add(total.a, v);
        total.rotate();
      });
      x = to;
    } else if (!norm.rms) {
      for_vectors(0, width, [&](auto part, int64_t i) HWY_ATTR {
        total.a = hn::Add(total.a, part.load(x + i));
        total.rotate();
      });
    }
    const float mean = norm.rms ? 0.0F : total.total() * inverse_width;
    const FloatVec centre = set(mean);
    Sum squares;
    for_vectors(0, width, [&](auto part, int64_t i) HWY_ATTR {
      const FloatVec v = part.keep(hn::Sub(part.load(x + i), centre));
      squares.a = hn::MulAdd(v, v, squares.a);
      squares.rotate();
    });
    const float variance = squares.total() * inverse_width;
    const float inverse = 1.0F / std::sqrt(variance + norm.epsilon);
    if (statistics) {
      statistics[2 * row] = mean;
      statistics[2 * row + 1] = inverse;
    }
    const FloatVec factor = set(inverse);
    float* out = y + row * width;
    for_vectors(0, width, [&](auto part, int64_t i) HWY_ATTR {
      FloatVec v = hn::Mul(hn::Sub(part.load(x + i), centre), factor);
      if (norm.weight) v = hn::Mul(v, part.load(norm.weight + i));
      if (norm.bias) v = hn::Add(v, part.load(norm.bias + i));
      part.store(v, out + i);
    });
  }
}

/// weight_partial and bias_partial (width) are overwritten; either may be null.
void NormBackward(const cpu::Norm& norm, const float* statistics, const float* y_grad,
                  const float* sum_grad, int64_t begin, int64_t end, float* x_grad,
                  bool accumulate_x, float* weight_partial, float* bias_partial) {
  const int64_t width = norm.width;
  const float inverse_width = 1.0F / static_cast<float>(width);
  if (weight_partial) std::fill_n(weight_partial, width, 0.0F);
  if (bias_partial) std::fill_n(bias_partial, width, 0.0F);
  for (int64_t row = begin; row < end; ++row) {
    const float* x = norm.x + row * width;
    const float* dy = y_grad + row * width;
    const FloatVec centre = set(norm.rms ? 0.0F : statistics[2 * row]);
    const FloatVec factor = set(statistics[2 * row + 1]);
    // g = dL/dx̂ and its mean, and the mean of g·x̂.
    Sum sum, sum_of_products;
    for_vectors(0, width, [&](auto part, int64_t i) HWY_ATTR {
      const FloatVec normal = hn::Mul(hn::Sub(part.load(x + i), centre), factor);
      const FloatVec grad = part.load(dy + i);
      if (weight_partial) {
        part.store(hn::MulAdd(grad, normal, part.load(weight_partial + i)), weight_partial + i);
      }
      if (bias_partial) part.store(hn::Add(grad, part.load(bias_partial + i)), bias_partial + i);
      const FloatVec g = norm.weight ? hn::Mul(grad, part.load(norm.weight + i)) : grad;
      sum.a = hn::Add(sum.a, g);
      sum.rotate();
      sum_of_products.a = hn::MulAdd(g, normal, sum_of_products.a);
      sum_of_products.rotate();
    });
    if (!x_grad) continue;
    const FloatVec mean = set(norm.rms ? 0.0F : sum.total() * inverse_width);
    const FloatVec mean_of_products = set(sum_of_products.total() * inverse_width);
    float* dx = x_grad + row * width;
    const float* ds = sum_grad ? sum_grad + row * width : nullptr;
    for_vectors(0, width, [&](auto part, int64_t i) HWY_ATTR {
      const FloatVec normal = hn::Mul(hn::Sub(part.load(x + i), centre), factor);
      FloatVec g = part.load(dy + i);
      if (norm.weight) g = hn::Mul(g, part.load(norm.weight + i));
      g = hn::Mul(factor, hn::NegMulAdd(normal, mean_of_products, hn::Sub(g, mean)));
      if (ds) g = hn::Add(g, part.load(ds + i));
      if (accumulate_x) g = hn::Add(g, part.load(dx + i));
      part.store(g, dx + i);
    });
  }
}

/// a += b.
void AddTo(float* a, const float* b, int64_t count) {
  for_vectors(0, count, [&](auto part, int64_t i) HWY_ATTR {
    part.store(hn::Add(part.load(a + i), part.load(b + i)), a + i);
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace quern::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quern::kernels::cpu {
namespace {
HWY_EXPORT(NormForward);
HWY_EXPORT(NormBackward);
HWY_EXPORT(AddTo);

// Parameter gradients meet in at most this many partial sums.
constexpr int64_t kPartials = 64;

int64_t backward_rows(int64_t rows, int64_t width) {
  return std::max(rows_per_task(2 * width), divide_up(rows, kPartials));
}

/// Folds `count` rows of `partials` (stride apart) into the first, pairwise, then into `grad`.
void fold(float* partials, int64_t count, int64_t stride, int64_t width, float* grad,
          bool accumulate) {
  for (int64_t step = 1; step < count; step *= 2) {
    for (int64_t i = 0; i + step < count; i += 2 * step) {
      HWY_DYNAMIC_DISPATCH(AddTo)(partials + i * stride, partials + (i + step) * stride, width);
    }
  }
  if (accumulate) {
    HWY_DYNAMIC_DISPATCH(AddTo)(grad, partials, width);
  } else {
    std::copy_n(partials, width, grad);
  }
}
}  // namespace

void norm_forward(const Context& context, const cpu::Norm& norm, float* y, float* sum,
                  float* statistics) {
  for_chunks(context, norm.rows, rows_per_task(norm.width), [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(NormForward)(norm, begin, end, y, sum, statistics);
  });
}

size_t norm_backward_scratch(int64_t rows, int64_t width) {
  const int64_t partials = std::max<int64_t>(1, divide_up(rows, backward_rows(rows, width)));
  return static_cast<size_t>(partials * 2 * width) * sizeof(float);
}

void norm_backward(const Context& context, const cpu::Norm& norm, const float* statistics,
                   const float* y_grad, const float* sum_grad, float* x_grad, bool accumulate_x,
                   float* weight_grad, float* bias_grad, bool accumulate_parameters,
                   std::byte* scratch) {
  const int64_t width = norm.width;
  const int64_t rows = backward_rows(norm.rows, width);
  const int64_t partials = divide_up(norm.rows, rows);
  auto* partial = reinterpret_cast<float*>(scratch);
  for_chunks(context, norm.rows, rows, [&](int64_t begin, int64_t end) {
    float* weights = partial + begin / rows * 2 * width;
    HWY_DYNAMIC_DISPATCH(NormBackward)
    (norm, statistics, y_grad, sum_grad, begin, end, x_grad, accumulate_x,
     weight_grad ? weights : nullptr, bias_grad ? weights + width : nullptr);
  });
  if (partials == 0) {
    if (weight_grad && !accumulate_parameters) std::fill_n(weight_grad, width, 0.0F);
    if (bias_grad && !accumulate_parameters) std::fill_n(bias_grad, width, 0.0F);
    return;
  }
  if (weight_grad) fold(partial, partials, 2 * width, width, weight_grad, accumulate_parameters);
  if (bias_grad)
    fold(partial + width, partials, 2 * width, width, bias_grad, accumulate_parameters);
}

}  // namespace quern::kernels::cpu
#endif
