// Vector helpers of the kernels, compiled once per instruction set: loops with masked tails, and
// the functions that Highway lacks or that would swallow a NaN there.
#if defined(QUERN_KERNELS_CPU_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUERN_KERNELS_CPU_MATH_INL_H_
#undef QUERN_KERNELS_CPU_MATH_INL_H_
#else
#define QUERN_KERNELS_CPU_MATH_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

HWY_BEFORE_NAMESPACE();
namespace quern::kernels::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using FloatVec = hn::Vec<Floats>;

HWY_INLINE FloatVec set(float x) { return hn::Set(Floats(), x); }

/// A whole vector.
struct Whole {
  HWY_INLINE FloatVec load(const float* p) const { return hn::LoadU(Floats(), p); }
  HWY_INLINE void store(FloatVec v, float* p) const { hn::StoreU(v, Floats(), p); }
  HWY_INLINE FloatVec keep(FloatVec v) const { return v; }
  HWY_INLINE FloatVec keep(FloatVec v, FloatVec) const { return v; }
};

/// The first `count` lanes; nothing beyond them is read or written.
struct Part {
  size_t count;
  HWY_INLINE FloatVec load(const float* p) const {
#if HWY_TARGET <= HWY_AVX2
    return hn::MaskedLoad(hn::FirstN(Floats(), count), Floats(), p);
#else
    HWY_ALIGN float lanes[hn::MaxLanes(Floats())] = {};
    std::memcpy(lanes, p, count * sizeof(float));
    return hn::Load(Floats(), lanes);
#endif
  }
  HWY_INLINE void store(FloatVec v, float* p) const {
#if HWY_TARGET <= HWY_AVX2
    hn::BlendedStore(v, hn::FirstN(Floats(), count), Floats(), p);
#else
    HWY_ALIGN float lanes[hn::MaxLanes(Floats())];
    hn::Store(v, Floats(), lanes);
    std::memcpy(p, lanes, count * sizeof(float));
#endif
  }
  /// Zero, or `other`, in the lanes that are not there.
  HWY_INLINE FloatVec keep(FloatVec v) const {
    return hn::IfThenElseZero(hn::FirstN(Floats(), count), v);
  }
  HWY_INLINE FloatVec keep(FloatVec v, FloatVec other) const {
    return hn::IfThenElse(hn::FirstN(Floats(), count), v, other);
  }
};

/// Calls body(part, i) for every vector of [begin, end), the last one masked.
template <class Body>
HWY_INLINE void for_vectors(int64_t begin, int64_t end, const Body& body) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(Floats()));
  int64_t i = begin;
  for (; i + lanes <= end; i += lanes) body(Whole(), i);
  if (i < end) body(Part{static_cast<size_t>(end - i)}, i);
}

/// Four running sums, so that the latency of one addition does not set the pace.
struct Sum {
  FloatVec a, b, c, d;
  // Spelled out, because GCC compiles an implicit constructor without the instruction set.
  HWY_INLINE Sum() : a(set(0)), b(set(0)), c(set(0)), d(set(0)) {}
  HWY_INLINE void rotate() {
    const FloatVec first = a;
    a = b, b = c, c = d, d = first;
  }
  HWY_INLINE float total() const {
    return hn::GetLane(hn::SumOfLanes(Floats(), hn::Add(hn::Add(a, b), hn::Add(c, d))));
  }
};

/// eˣ within 2 ulp; 0 below e⁻⁸⁷, infinity above e⁸⁸·⁷, NaN for NaN. Cephes' polynomial.
HWY_INLINE FloatVec exp(FloatVec x) {
  const Floats d;
  const hn::RebindToSigned<Floats> di;
  const FloatVec lowest = set(-87.3F);
  const auto underflow = hn::Lt(x, lowest);
  // The order of operands keeps a NaN.
  FloatVec r = hn::Min(set(89.0F), hn::Max(lowest, x));
  const FloatVec n = hn::Round(hn::Mul(r, set(1.44269504F)));
  r = hn::NegMulAdd(n, set(0.693359375F), r);
  r = hn::NegMulAdd(n, set(-2.12194440e-4F), r);
  FloatVec p = set(1.9875691500e-4F);
  p = hn::MulAdd(p, r, set(1.3981999507e-3F));
  p = hn::MulAdd(p, r, set(8.3334519073e-3F));
  p = hn::MulAdd(p, r, set(4.1665795894e-2F));
  p = hn::MulAdd(p, r, set(1.6666665459e-1F));
  p = hn::MulAdd(p, r, set(5.0000001201e-1F));
  p = hn::MulAdd(p, hn::Mul(r, r), hn::Add(r, set(1.0F)));
  // Two factors, because 2¹²⁸ has no float.
  const auto k = hn::ConvertTo(di, n);
  const auto half = hn::ShiftRight<1>(k);
  const auto bias = hn::Set(di, 127);
  const FloatVec low = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(half, bias)));
  const FloatVec high = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(hn::Sub(k, half), bias)));
  return hn::IfThenZeroElse(underflow, hn::Mul(hn::Mul(p, low), high));
}

/// 1 / (1 + e⁻ˣ).
HWY_INLINE FloatVec sigmoid(FloatVec x) {
  return hn::Div(set(1.0F), hn::Add(set(1.0F), exp(hn::Neg(x))));
}

/// x·P(x²)/Q(x²) on [-4, 4], the rational approximation of Eigen, within 3e-7.
HWY_INLINE FloatVec erf(FloatVec x) {
  x = hn::Min(set(4.0F), hn::Max(set(-4.0F), x));
  const FloatVec z = hn::Mul(x, x);
  FloatVec p = set(-2.72614225801306e-10F);
  p = hn::MulAdd(p, z, set(2.77068142495902e-08F));
  p = hn::MulAdd(p, z, set(-2.10102402082508e-06F));
  p = hn::MulAdd(p, z, set(-5.69250639462346e-05F));
  p = hn::MulAdd(p, z, set(-7.34990630326855e-04F));
  p = hn::MulAdd(p, z, set(-2.95459980854025e-03F));
  p = hn::MulAdd(p, z, set(-1.60960333262415e-02F));
  FloatVec q = set(-1.45660718464996e-05F);
  q = hn::MulAdd(q, z, set(-2.13374055278905e-04F));
  q = hn::MulAdd(q, z, set(-1.68282697438203e-03F));
  q = hn::MulAdd(q, z, set(-7.37332916720468e-03F));
  q = hn::MulAdd(q, z, set(-1.42647390514189e-02F));
  return hn::Div(hn::Mul(x, p), q);
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::kernels::cpu
HWY_AFTER_NAMESPACE();
#endif
