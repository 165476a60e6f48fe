#include "quern/kernels/cpu/loss.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "quern/kernels/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quern/kernels/cpu/loss.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "quern/kernels/cpu/math-inl.h"

#ifndef QUERN_KERNELS_CPU_LOSS_ONCE_
#define QUERN_KERNELS_CPU_LOSS_ONCE_
namespace quern::kernels::cpu {
/// What a stretch of logits contributes to its row: Σ eˣ = sum · e^max.
struct RowPart {
  float max = -std::numeric_limits<float>::infinity();
  double sum = 0;
  double logits = 0;  // Σ x, for label smoothing
};
}  // namespace quern::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace quern::kernels::cpu {
namespace HWY_NAMESPACE {
namespace {

// Sums of so many elements meet in float64, so that a large vocabulary costs no accuracy.
constexpr int64_t kBlock = 2048;

HWY_INLINE float maximum(const float* x, int64_t count) {
  const FloatVec lowest = set(-std::numeric_limits<float>::infinity());
  Sum m;  // four running maxima
  m.a = m.b = m.c = m.d = lowest;
  for_vectors(0, count, [&](auto part, int64_t i) HWY_ATTR {
    m.a = hn::Max(m.a, part.keep(part.load(x + i), lowest));
    m.rotate();
  });
  const FloatVec all = hn::Max(hn::Max(m.a, m.b), hn::Max(m.c, m.d));
  return hn::GetLane(hn::MaxOfLanes(Floats(), all));
}

void ReduceRow(const float* x, int64_t count, bool with_logits, RowPart* out) {
  const float max = maximum(x, count);
  // A row of nothing but -∞ has no finite origin to subtract.
  const FloatVec origin = set(max == -std::numeric_limits<float>::infinity() ? 0.0F : max);
  double sum = 0, logits = 0;
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    Sum block, block_logits;
    for_vectors(begin, std::min(count, begin + kBlock), [&](auto part, int64_t i) HWY_ATTR {
      const FloatVec v = part.load(x + i);
      block.a = hn::Add(block.a, part.keep(exp(hn::Sub(v, origin))));
      block.rotate();
      if (with_logits) {
        block_logits.a = hn::Add(block_logits.a, v);
        block_logits.rotate();
      }
    });
    sum += static_cast<double>(block.total());
    if (with_logits) logits += static_cast<double>(block_logits.total());
  }
  out->max = max;
  out->sum = sum;
  out->logits = logits;
}

/// grad (+)= weight · (eˣ⁻ˡˢᵉ - uniform).
void SoftmaxGrad(const float* x, int64_t count, float lse, float weight, float uniform, float* grad,
                 bool accumulate) {
  const FloatVec origin = set(lse), factor = set(weight), shift = set(uniform);
  for_vectors(0, count, [&](auto part, int64_t i) HWY_ATTR {
    const FloatVec p = exp(hn::Sub(part.load(x + i), origin));
    const FloatVec g = hn::Mul(factor, hn::Sub(p, shift));
    part.store(accumulate ? hn::Add(part.load(grad + i), g) : g, grad + i);
  });
}

void SoftmaxRows(const float* x, int64_t rows, int64_t classes, float* y) {
  for (int64_t row = 0; row < rows; ++row) {
    const float* from = x + row * classes;
    float* to = y + row * classes;
    const FloatVec origin = set(maximum(from, classes));
    double sum = 0;
    for (int64_t begin = 0; begin < classes; begin += kBlock) {
      Sum block;
      for_vectors(begin, std::min(classes, begin + kBlock), [&](auto part, int64_t i) HWY_ATTR {
        const FloatVec e = exp(hn::Sub(part.load(from + i), origin));
        part.store(e, to + i);
        block.a = hn::Add(block.a, part.keep(e));
        block.rotate();
      });
      sum += static_cast<double>(block.total());
    }
    const FloatVec factor = set(static_cast<float>(1 / sum));
    for_vectors(0, classes, [&](auto part, int64_t i) HWY_ATTR {
      part.store(hn::Mul(part.load(to + i), factor), to + i);
    });
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace quern::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quern::kernels::cpu {
namespace {
HWY_EXPORT(ReduceRow);
HWY_EXPORT(SoftmaxGrad);
HWY_EXPORT(SoftmaxRows);

// With fewer rows than this, each is split into parts, where its classes are many.
constexpr int64_t kFewRows = 16, kRowParts = 16;

RowPart merge(const RowPart& a, const RowPart& b) {
  if (b.max == -std::numeric_limits<float>::infinity() && b.sum == 0)
    return {a.max, a.sum, a.logits + b.logits};
  RowPart c;
  c.max = std::max(a.max, b.max);
  const auto rescaled = [&](const RowPart& p) {
    return p.sum == 0 ? 0.0 : p.sum * std::exp(static_cast<double>(p.max - c.max));
  };
  c.sum = rescaled(a) + rescaled(b);
  c.logits = a.logits + b.logits;
  return c;
}

RowPart merge_tree(const RowPart* parts, int64_t count) {
  if (count == 1) return parts[0];
  return merge(merge_tree(parts, count / 2), merge_tree(parts + count / 2, count - count / 2));
}

double log_sum_exp(const RowPart& part) {
  return static_cast<double>(part.max) + std::log(part.sum);
}

/// Writes what a row leaves, returns its smoothed loss.
double finish_row(const CrossEntropy& c, int64_t row, const RowPart& part, float* nll, float* lse) {
  const double log_sum = log_sum_exp(part);
  if (lse) lse[row] = static_cast<float>(log_sum);
  const int32_t target = c.targets[row];
  if (target < 0) {
    if (nll) nll[row] = 0;
    return 0;
  }
  const double own = log_sum - static_cast<double>(c.logits[row * c.classes + target]);
  if (nll) nll[row] = static_cast<float>(own);
  const double row_weight = c.row_weights ? static_cast<double>(c.row_weights[row]) : 1;
  if (c.label_smoothing == 0) return row_weight * own;
  const double smoothing = static_cast<double>(c.label_smoothing);
  const double mean = log_sum - part.logits / static_cast<double>(c.classes);
  return row_weight * (own + smoothing * (mean - own));
}

/// Of the classes from begin to end of a row, where `lse` is its log-sum-exp.
void gradient_stretch(const CrossEntropy& c, int64_t row, float lse, float weight, int64_t begin,
                      int64_t end, float* logits_grad, bool accumulate) {
  float* grad = logits_grad + row * c.classes;
  const int32_t target = c.targets[row];
  if (target < 0) {
    if (!accumulate) std::fill(grad + begin, grad + end, 0.0F);
    return;
  }
  const float uniform = c.label_smoothing / static_cast<float>(c.classes);
  const float factor = c.row_weights ? weight * c.row_weights[row] : weight;
  HWY_DYNAMIC_DISPATCH(SoftmaxGrad)
  (c.logits + row * c.classes + begin, end - begin, lse, factor, uniform, grad + begin, accumulate);
  if (target >= begin && target < end) grad[target] -= factor * (1.0F - c.label_smoothing);
}

bool splits_rows(const CrossEntropy& c) {
  return c.rows < kFewRows && c.classes >= 2 * kTaskElements;
}
}  // namespace

size_t cross_entropy_forward_scratch(int64_t rows) {
  const int64_t parts = rows < kFewRows ? rows * kRowParts : 0;
  return static_cast<size_t>(std::max<int64_t>(1, rows)) * sizeof(double) +
         static_cast<size_t>(parts) * sizeof(RowPart);
}

void cross_entropy_forward(const Context& context, const CrossEntropy& c, float weight, float* nll,
                           float* lse, float* loss, std::byte* scratch) {
  auto* losses = reinterpret_cast<double*>(scratch);
  const bool smooth = c.label_smoothing != 0;
  if (splits_rows(c)) {
    auto* parts = reinterpret_cast<RowPart*>(losses + c.rows);
    const int64_t length = divide_up(divide_up(c.classes, kRowParts), 64) * 64;
    const int64_t count = divide_up(c.classes, length);
    for_chunks(context, c.rows * count, 1, [&](int64_t task, int64_t) {
      const int64_t begin = task % count * length;
      HWY_DYNAMIC_DISPATCH(ReduceRow)
      (c.logits + task / count * c.classes + begin, std::min(length, c.classes - begin), smooth,
       parts + task);
    });
    for (int64_t row = 0; row < c.rows; ++row) {
      losses[row] = finish_row(c, row, merge_tree(parts + row * count, count), nll, lse);
    }
  } else {
    for_chunks(context, c.rows, rows_per_task(c.classes), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        RowPart part;
        HWY_DYNAMIC_DISPATCH(ReduceRow)(c.logits + row * c.classes, c.classes, smooth, &part);
        losses[row] = finish_row(c, row, part, nll, lse);
      }
    });
  }
  *loss = static_cast<float>(static_cast<double>(weight) * tree_sum(losses, c.rows));
}

void cross_entropy_backward(const Context& context, const CrossEntropy& c, const float* lse,
                            float weight, float* logits_grad, bool accumulate) {
  const auto stretch = [&](int64_t row, int64_t begin, int64_t end) {
    gradient_stretch(c, row, lse[row], weight, begin, end, logits_grad, accumulate);
  };
  if (c.classes > kTaskElements) {
    const int64_t parts = divide_up(c.classes, kTaskElements);
    for_chunks(context, c.rows * parts, 1, [&](int64_t task, int64_t) {
      const int64_t begin = task % parts * kTaskElements;
      stretch(task / parts, begin, std::min(c.classes, begin + kTaskElements));
    });
    return;
  }
  for_chunks(context, c.rows, rows_per_task(c.classes), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) stretch(row, 0, c.classes);
  });
}

size_t cross_entropy_both_scratch(int64_t rows) {
  return cross_entropy_forward_scratch(rows) + static_cast<size_t>(rows) * sizeof(float);
}

void cross_entropy_both(const Context& context, const CrossEntropy& c, float weight,
                        float gradient_weight, float* nll, float* lse, float* loss,
                        float* logits_grad, std::byte* scratch) {
  if (splits_rows(c)) {
    if (lse == nullptr)
      lse = reinterpret_cast<float*>(scratch + cross_entropy_forward_scratch(c.rows));
    cross_entropy_forward(context, c, weight, nll, lse, loss, scratch);
    cross_entropy_backward(context, c, lse, gradient_weight, logits_grad, false);
    return;
  }
  auto* losses = reinterpret_cast<double*>(scratch);
  for_chunks(context, c.rows, rows_per_task(c.classes), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      RowPart part;
      HWY_DYNAMIC_DISPATCH(ReduceRow)
      (c.logits + row * c.classes, c.classes, c.label_smoothing != 0, &part);
      losses[row] = finish_row(c, row, part, nll, lse);
      gradient_stretch(c, row, static_cast<float>(log_sum_exp(part)), gradient_weight, 0, c.classes,
                       logits_grad, false);
    }
  });
  *loss = static_cast<float>(static_cast<double>(weight) * tree_sum(losses, c.rows));
}

size_t squared_error_scratch(int64_t count) {
  return static_cast<size_t>(divide_up(std::max<int64_t>(1, count), kTaskElements)) *
         sizeof(double);
}

void squared_error_forward(const Context& context, const SquaredError& s, float weight,
                           float* errors, float* loss, std::byte* scratch) {
  auto* sums = reinterpret_cast<double*>(scratch);
  for_chunks(context, s.count, kTaskElements, [&](int64_t begin, int64_t end) {
    double sum = 0;
    for (int64_t i = begin; i < end; ++i) {
      const double difference =
          static_cast<double>(s.predictions[i]) - static_cast<double>(s.targets[i]);
      const double error = difference * difference;
      if (errors) errors[i] = static_cast<float>(error);
      sum += s.row_weights ? static_cast<double>(s.row_weights[i]) * error : error;
    }
    sums[begin / kTaskElements] = sum;
  });
  const double total = s.count > 0 ? tree_sum(sums, divide_up(s.count, kTaskElements)) : 0;
  *loss = static_cast<float>(static_cast<double>(weight) * total);
}

void squared_error_backward(const Context& context, const SquaredError& s, float weight,
                            float* grad, bool accumulate) {
  for_chunks(context, s.count, kTaskElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float factor = s.row_weights ? 2 * weight * s.row_weights[i] : 2 * weight;
      const float value = factor * (s.predictions[i] - s.targets[i]);
      grad[i] = accumulate ? grad[i] + value : value;
    }
  });
}

void softmax(const Context& context, const float* x, int64_t rows, int64_t classes, float* y) {
  for_chunks(context, rows, rows_per_task(classes), [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(SoftmaxRows)
    (x + begin * classes, end - begin, classes, y + begin * classes);
  });
}

}  // namespace quern::kernels::cpu
#endif
