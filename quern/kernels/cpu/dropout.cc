#include "quern/kernels/cpu/elementwise.h"
#include "quern/kernels/cpu/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quern/kernels/cpu/dropout.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "quern/kernels/cpu/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quern::kernels::cpu {
namespace HWY_NAMESPACE {
namespace {

// Element e of a sample takes word (e % 64) / 16 of the Philox block (e / 64) · 16 + e % 16, so
// that 16 blocks fill 64 neighbours a word at a time. The counter is block, stream and layer,
// sample, step; the key is the seed.
constexpr int64_t kGroup = 64, kBlocks = 16;

using Words = hn::CappedTag<uint32_t, kBlocks>;
using WordVec = hn::Vec<Words>;

struct Product {
  WordVec low, high;
};

HWY_INLINE Product multiply_wide(WordVec a, uint32_t factor) {
  const Words d;
#if HWY_TARGET == HWY_SCALAR
  const uint64_t product = uint64_t{hn::GetLane(a)} * factor;
  return {hn::Set(d, static_cast<uint32_t>(product)),
          hn::Set(d, static_cast<uint32_t>(product >> 32))};
#else
  const hn::RepartitionToWide<Words> wide;
  const WordVec f = hn::Set(d, factor);
  const auto even = hn::BitCast(d, hn::MulEven(a, f));
  const auto odd =
      hn::BitCast(d, hn::MulEven(hn::BitCast(d, hn::ShiftRight<32>(hn::BitCast(wide, a))), f));
  const auto high_of_even = hn::BitCast(d, hn::ShiftRight<32>(hn::BitCast(wide, even)));
  const auto low_of_odd = hn::BitCast(d, hn::ShiftLeft<32>(hn::BitCast(wide, odd)));
  return {hn::OddEven(low_of_odd, even), hn::OddEven(odd, high_of_even)};
#endif
}

/// The factors, 0 or 1 / (1 - rate), of the 64 elements of `group`.
HWY_INLINE void draw_factors(const cpu::Dropout& dropout, uint32_t sample, uint32_t group,
                             uint32_t threshold, float* factors) {
  const Words d;
  const hn::RebindToFloat<Words> df;
  const auto limit = hn::Set(d, threshold);
  const auto kept = hn::Set(df, 1.0F / (1.0F - dropout.rate));
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t block = 0; block < kBlocks; block += lanes) {
    WordVec c0 = hn::Iota(d, group * uint32_t{kBlocks} + static_cast<uint32_t>(block));
    WordVec c1 = hn::Set(d, (dropout.stream << 20) ^ dropout.layer);
    WordVec c2 = hn::Set(d, sample);
    WordVec c3 = hn::Set(d, dropout.random[2]);
    uint32_t k0 = dropout.random[0], k1 = dropout.random[1];
    for (int round = 0; round < 10; ++round) {
      const Product a = multiply_wide(c0, 0xD2511F53u);
      const Product b = multiply_wide(c2, 0xCD9E8D57u);
      c0 = hn::Xor(hn::Xor(b.high, c1), hn::Set(d, k0));
      c1 = b.low;
      c2 = hn::Xor(hn::Xor(a.high, c3), hn::Set(d, k1));
      c3 = a.low;
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    float* to = factors + block;
    const auto factor = [&](WordVec word) HWY_ATTR {
      return hn::IfThenZeroElse(hn::RebindMask(df, hn::Lt(word, limit)), kept);
    };
    hn::StoreU(factor(c0), df, to);
    hn::StoreU(factor(c1), df, to + kBlocks);
    hn::StoreU(factor(c2), df, to + 2 * kBlocks);
    hn::StoreU(factor(c3), df, to + 3 * kBlocks);
  }
}

template <class P>
HWY_INLINE void put(P part, FloatVec value, const float* residual, float* y, bool accumulate) {
  if (residual) value = hn::Add(value, part.load(residual));
  part.store(accumulate ? hn::Add(part.load(y), value) : value, y);
}

/// Elements [begin, end) of one sample; begin is a multiple of 64.
void DropoutPart(const cpu::Dropout& dropout, int64_t sample, int64_t begin, int64_t end,
                 const float* x, const float* residual, float* y, bool accumulate) {
  const uint32_t global = dropout.random[3] + static_cast<uint32_t>(sample);
  const auto threshold = static_cast<uint32_t>(static_cast<double>(dropout.rate) * 0x1p32);
  const int64_t first = sample * dropout.sample_size;
  x += first;
  y += first;
  if (residual) residual += first;
  HWY_ALIGN float factors[kGroup];
  if (dropout.per_sample) {
    draw_factors(dropout, global, 0, threshold, factors);
    const FloatVec factor = set(factors[0]);
    for_vectors(begin, end, [&](auto part, int64_t i) HWY_ATTR {
      put(part, hn::Mul(part.load(x + i), factor), residual ? residual + i : nullptr, y + i,
          accumulate);
    });
    return;
  }
  for (int64_t at = begin; at < end; at += kGroup) {
    draw_factors(dropout, global, static_cast<uint32_t>(at / kGroup), threshold, factors);
    for_vectors(at, end < at + kGroup ? end : at + kGroup, [&](auto part, int64_t i) HWY_ATTR {
      put(part, hn::Mul(part.load(x + i), part.load(factors + (i - at))),
          residual ? residual + i : nullptr, y + i, accumulate);
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
HWY_EXPORT(DropoutPart);
// Ten rounds of Philox cost more than the memory they decide about; a multiple of 64.
constexpr int64_t kDropoutElements = 8192;
}  // namespace

void dropout(const Context& context, const cpu::Dropout& dropout, const float* x,
             const float* residual, float* y, bool accumulate) {
  const int64_t size = dropout.sample_size;
  if (size <= 0) return;
  if (size > kDropoutElements) {
    const int64_t parts = divide_up(size, kDropoutElements);
    for_chunks(context, dropout.samples * parts, 1, [&](int64_t task, int64_t) {
      const int64_t begin = task % parts * kDropoutElements;
      HWY_DYNAMIC_DISPATCH(DropoutPart)
      (dropout, task / parts, begin, std::min(size, begin + kDropoutElements), x, residual, y,
       accumulate);
    });
    return;
  }
  for_chunks(context, dropout.samples, kDropoutElements / size, [&](int64_t begin, int64_t end) {
    for (int64_t sample = begin; sample < end; ++sample) {
      HWY_DYNAMIC_DISPATCH(DropoutPart)
      (dropout, sample, 0, size, x, residual, y, accumulate);
    }
  });
}

}  // namespace quern::kernels::cpu
#endif
