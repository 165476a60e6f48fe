// Activations and their slopes on vectors, compiled once per instruction set: for the elementwise
// kernels and for the epilogue of gemm, which takes the value alone.
#if defined(QUERN_KERNELS_CPU_ACTIVATION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUERN_KERNELS_CPU_ACTIVATION_INL_H_
#undef QUERN_KERNELS_CPU_ACTIVATION_INL_H_
#else
#define QUERN_KERNELS_CPU_ACTIVATION_INL_H_
#endif

#include "quern/kernels/activation.h"
#include "quern/kernels/cpu/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quern::kernels::cpu {
namespace HWY_NAMESPACE {

/// activation(x) and its derivative.
struct Pair {
  FloatVec value, slope;
};

template <Activation kActivation>
HWY_INLINE Pair activate(FloatVec x) {
  const FloatVec one = set(1.0F);
  if constexpr (kActivation == Activation::kRelu) {
    const auto negative = hn::Le(x, set(0.0F));
    return {hn::IfThenZeroElse(negative, x), hn::IfThenZeroElse(negative, one)};
  } else if constexpr (kActivation == Activation::kGelu) {
    // x·Φ(x), with the slope Φ(x) + x·φ(x).
    const FloatVec normal = hn::MulAdd(erf(hn::Mul(x, set(0.707106781F))), set(0.5F), set(0.5F));
    const FloatVec density = hn::Mul(exp(hn::Mul(hn::Mul(x, x), set(-0.5F))), set(0.398942280F));
    return {hn::Mul(x, normal), hn::MulAdd(x, density, normal)};
  } else if constexpr (kActivation == Activation::kGeluTanh) {
    // (1 + tanh(u)) / 2 = s(2u) with the sigmoid s; 2u = x·(a + b·x²).
    const FloatVec a = set(1.59576912F), b = set(0.0713548163F);
    const FloatVec square = hn::Mul(x, x);
    const FloatVec s = sigmoid(hn::Mul(x, hn::MulAdd(square, b, a)));
    const FloatVec slope = hn::MulAdd(hn::Mul(square, set(3.0F)), b, a);
    return {hn::Mul(x, s), hn::MulAdd(hn::Mul(x, slope), hn::Mul(s, hn::Sub(one, s)), s)};
  } else if constexpr (kActivation == Activation::kSilu) {
    const FloatVec s = sigmoid(x);
    return {hn::Mul(x, s), hn::MulAdd(x, hn::Mul(s, hn::Sub(one, s)), s)};
  } else {
    return {x, one};
  }
}

/// Calls f with the activation as a template argument, so that loops are compiled for each.
template <class F>
HWY_INLINE void with_activation(Activation activation, const F& f) {
  switch (activation) {
    case Activation::kNone:
      return f.template operator()<Activation::kNone>();
    case Activation::kRelu:
      return f.template operator()<Activation::kRelu>();
    case Activation::kGelu:
      return f.template operator()<Activation::kGelu>();
    case Activation::kGeluTanh:
      return f.template operator()<Activation::kGeluTanh>();
    case Activation::kSilu:
      return f.template operator()<Activation::kSilu>();
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::kernels::cpu
HWY_AFTER_NAMESPACE();
#endif
