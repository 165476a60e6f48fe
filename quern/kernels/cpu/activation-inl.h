// Activations on vectors, compiled once per instruction set; shared by the elementwise kernels and
// the epilogue of gemm.
#if defined(QUERN_KERNELS_CPU_ACTIVATION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUERN_KERNELS_CPU_ACTIVATION_INL_H_
#undef QUERN_KERNELS_CPU_ACTIVATION_INL_H_
#else
#define QUERN_KERNELS_CPU_ACTIVATION_INL_H_
#endif

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include <type_traits>

#include "quern/kernels/activation.h"

HWY_BEFORE_NAMESPACE();
namespace quern::kernels::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// 1 / (1 + exp(-x)).
template <class D, class V>
HWY_INLINE V sigmoid(D d, V x) {
  const V one = hn::Set(d, 1.0F);
  const V negative = hn::Min(hn::Neg(x), hn::Set(d, 87.0F));  // Exp is defined up to 104
  return hn::Div(one, hn::Add(one, hn::Exp(d, negative)));
}

/// erf(x): x·P(x²)/Q(x²) on [-4, 4], the rational approximation of Eigen; a few ulp of float32.
template <class D, class V>
HWY_INLINE V erf(D d, V x) {
  x = hn::Min(hn::Max(x, hn::Set(d, -4.0F)), hn::Set(d, 4.0F));
  const V z = hn::Mul(x, x);
  V p = hn::Set(d, -2.72614225801306e-10F);
  p = hn::MulAdd(p, z, hn::Set(d, 2.77068142495902e-08F));
  p = hn::MulAdd(p, z, hn::Set(d, -2.10102402082508e-06F));
  p = hn::MulAdd(p, z, hn::Set(d, -5.69250639462346e-05F));
  p = hn::MulAdd(p, z, hn::Set(d, -7.34990630326855e-04F));
  p = hn::MulAdd(p, z, hn::Set(d, -2.95459980854025e-03F));
  p = hn::MulAdd(p, z, hn::Set(d, -1.60960333262415e-02F));
  V q = hn::Set(d, -1.45660718464996e-05F);
  q = hn::MulAdd(q, z, hn::Set(d, -2.13374055278905e-04F));
  q = hn::MulAdd(q, z, hn::Set(d, -1.68282697438203e-03F));
  q = hn::MulAdd(q, z, hn::Set(d, -7.37332916720468e-03F));
  q = hn::MulAdd(q, z, hn::Set(d, -1.42647390514189e-02F));
  return hn::Div(hn::Mul(x, p), q);
}

template <Activation kActivation, class D, class V>
HWY_INLINE V activate(D d, V x) {
  if constexpr (kActivation == Activation::kRelu) {
    return hn::Max(x, hn::Zero(d));
  } else if constexpr (kActivation == Activation::kGelu) {
    const V half = hn::Mul(x, hn::Set(d, 0.5F));
    return hn::MulAdd(half, erf(d, hn::Mul(x, hn::Set(d, 0.70710678F))), half);
  } else if constexpr (kActivation == Activation::kGeluTanh) {
    // (1 + tanh(u)) / 2 = sigmoid(2u), u = √(2/π)·(x + 0.044715·x³)
    const V cubic = hn::MulAdd(hn::Mul(x, x), hn::Set(d, 0.0713548163F), hn::Set(d, 1.59576912F));
    return hn::Mul(x, sigmoid(d, hn::Mul(x, cubic)));
  } else if constexpr (kActivation == Activation::kSilu) {
    return hn::Mul(x, sigmoid(d, x));
  } else {
    return x;
  }
}

/// Calls f with an integral constant of the activation, so that loops are compiled for each.
template <class F>
HWY_INLINE void with_activation(Activation activation, const F& f) {
  switch (activation) {
    case Activation::kNone:
      return f(std::integral_constant<Activation, Activation::kNone>());
    case Activation::kRelu:
      return f(std::integral_constant<Activation, Activation::kRelu>());
    case Activation::kGelu:
      return f(std::integral_constant<Activation, Activation::kGelu>());
    case Activation::kGeluTanh:
      return f(std::integral_constant<Activation, Activation::kGeluTanh>());
    case Activation::kSilu:
      return f(std::integral_constant<Activation, Activation::kSilu>());
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::kernels::cpu
HWY_AFTER_NAMESPACE();
#endif
