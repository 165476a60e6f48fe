#include "quern/kernels/cpu/optimizer.h"

#include <cmath>

#include "quern/kernels/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quern/kernels/cpu/optimizer.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "quern/kernels/cpu/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quern::kernels::cpu {
namespace HWY_NAMESPACE {
namespace {

// Double accumulators even where a target has no vectors of doubles: four scalars then.
double SumOfSquares(const float* x, int64_t count) {
  double total = 0;
  int64_t i = 0;
#if HWY_HAVE_FLOAT64
  const hn::ScalableTag<double> d;
  const hn::Rebind<float, decltype(d)> half;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  auto a = hn::Zero(d), b = hn::Zero(d), c = hn::Zero(d), e = hn::Zero(d);
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    const auto va = hn::PromoteTo(d, hn::LoadU(half, x + i));
    const auto vb = hn::PromoteTo(d, hn::LoadU(half, x + i + lanes));
    const auto vc = hn::PromoteTo(d, hn::LoadU(half, x + i + 2 * lanes));
    const auto ve = hn::PromoteTo(d, hn::LoadU(half, x + i + 3 * lanes));
    a = hn::MulAdd(va, va, a);
    b = hn::MulAdd(vb, vb, b);
    c = hn::MulAdd(vc, vc, c);
    e = hn::MulAdd(ve, ve, e);
  }
  total = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(a, b), hn::Add(c, e))));
#endif
  for (; i < count; ++i) total += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return total;
}

void AdamW(const cpu::AdamWStep& step, float weight_decay, int64_t count, const float* gradient,
           float* parameter, float* m, float* v) {
  const FloatVec gradient_scale = set(step.gradient_scale);
  const FloatVec keep = set(1.0F - step.learning_rate * weight_decay);
  const FloatVec rate = set(-step.learning_rate / step.correction1);
  const FloatVec inverse_root = set(1.0F / std::sqrt(step.correction2));
  const FloatVec epsilon = set(step.epsilon);
  const FloatVec beta1 = set(step.beta1), new1 = set(1.0F - step.beta1);
  const FloatVec beta2 = set(step.beta2), new2 = set(1.0F - step.beta2);
  for_vectors(0, count, [&](auto part, int64_t i) HWY_ATTR {
    const FloatVec g = hn::Mul(part.load(gradient + i), gradient_scale);
    const FloatVec first = hn::MulAdd(beta1, part.load(m + i), hn::Mul(new1, g));
    const FloatVec second = hn::MulAdd(beta2, part.load(v + i), hn::Mul(hn::Mul(new2, g), g));
    const FloatVec denominator = hn::MulAdd(hn::Sqrt(second), inverse_root, epsilon);
    const FloatVec p = hn::Mul(part.load(parameter + i), keep);
    part.store(first, m + i);
    part.store(second, v + i);
    part.store(hn::MulAdd(rate, hn::Div(first, denominator), p), parameter + i);
  });
}

void Ema(float decay, int64_t count, const float* parameter, float* shadow) {
  const FloatVec rate = set(1.0F - decay);
  for_vectors(0, count, [&](auto part, int64_t i) HWY_ATTR {
    const FloatVec s = part.load(shadow + i);
    part.store(hn::MulAdd(rate, hn::Sub(part.load(parameter + i), s), s), shadow + i);
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace quern::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quern::kernels::cpu {
namespace {
HWY_EXPORT(SumOfSquares);
HWY_EXPORT(AdamW);
HWY_EXPORT(Ema);
}  // namespace

size_t sum_of_squares_scratch(int64_t count) {
  return static_cast<size_t>(std::max<int64_t>(1, divide_up(count, kTaskElements))) *
         sizeof(double);
}

double sum_of_squares(const Context& context, const float* x, int64_t count, std::byte* scratch) {
  auto* partial = reinterpret_cast<double*>(scratch);
  for_chunks(context, count, kTaskElements, [&](int64_t begin, int64_t end) {
    partial[begin / kTaskElements] = HWY_DYNAMIC_DISPATCH(SumOfSquares)(x + begin, end - begin);
  });
  return tree_sum(partial, divide_up(count, kTaskElements));
}

void adamw(const Context& context, const AdamWStep& step, float weight_decay, int64_t count,
           const float* gradient, float* parameter, float* m, float* v) {
  for_chunks(context, count, kTaskElements, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(AdamW)
    (step, weight_decay, end - begin, gradient + begin, parameter + begin, m + begin, v + begin);
  });
}

void ema(const Context& context, float decay, int64_t count, const float* parameter,
         float* shadow) {
  for_chunks(context, count, kTaskElements, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(Ema)(decay, end - begin, parameter + begin, shadow + begin);
  });
}

}  // namespace quern::kernels::cpu
#endif
