// What attention's forward and backward share, compiled once per instruction set.
#if defined(QUERN_KERNELS_CPU_ATTENTION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUERN_KERNELS_CPU_ATTENTION_INL_H_
#undef QUERN_KERNELS_CPU_ATTENTION_INL_H_
#else
#define QUERN_KERNELS_CPU_ATTENTION_INL_H_
#endif

#include <cmath>
#include <limits>

#include "quern/kernels/cpu/attention.h"
#include "quern/kernels/cpu/gemm_pack-inl.h"
#include "quern/kernels/cpu/microkernel-inl.h"

HWY_BEFORE_NAMESPACE();
namespace quern::kernels::cpu {
namespace HWY_NAMESPACE {

// Scores are computed transposed, Sᵀ (keys, queries) = K·Qᵀ: a vector holds one key's scores for
// many queries, so that softmax needs no sum across lanes, K, V and dO are read in place, and only
// a block of queries is packed. Scores are in units of log 2.
constexpr int64_t kQueries = 32;  // of a block: the row length of Sᵀ
constexpr int64_t kMaxHeadDim = 512;
constexpr float kLog2E = 1.44269504F;
constexpr float kLn2 = 0.693147181F;
constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

/// 2^x for x <= 0, relative error about 1e-7; exactly 0 below 2^-126 and for -∞. Minimax on
/// [-1/2, 1/2].
HWY_INLINE V32 exp2(V32 x) {
  const F32 d;
  const hn::RebindToSigned<F32> di;
  const auto tiny = hn::Lt(x, hn::Set(d, -126.0F));
  // Adding 1.5·2²³ rounds to a whole number and leaves it in the low bits.
  const V32 magic = hn::Set(d, 12582912.0F);
  const V32 shifted = hn::Add(x, magic);
  const V32 f = hn::Sub(x, hn::Sub(shifted, magic));
  V32 p = hn::Set(d, 1.535336186e-4F);
  p = hn::MulAdd(p, f, hn::Set(d, 1.339887479e-3F));
  p = hn::MulAdd(p, f, hn::Set(d, 9.618437361e-3F));
  p = hn::MulAdd(p, f, hn::Set(d, 5.550332470e-2F));
  p = hn::MulAdd(p, f, hn::Set(d, 2.402264791e-1F));
  p = hn::MulAdd(p, f, hn::Set(d, 6.931472029e-1F));
  p = hn::MulAdd(p, f, hn::Set(d, 1.0F));
  const auto exponent = hn::ShiftLeft<23>(hn::BitCast(di, shifted));
  const V32 y = hn::BitCast(d, hn::Add(hn::BitCast(di, p), exponent));
  return hn::IfThenElse(tiny, hn::Zero(d), y);
}

/// Up to kQueries queries of one head, and which keys they see.
struct QueryBlock {
  int64_t batch, head, first, count;  // rows first.. of T
  int64_t valid;                      // keys of this batch row
  int64_t position;                   // of query `first`
  int64_t key_begin, key_end;         // seen by any
  float slope;                        // ALiBi, in units of log 2
  HWY_ALIGN int32_t segments[kQueries];
};

HWY_INLINE QueryBlock make_block(const Attention& a, int64_t batch, int64_t head, int64_t first) {
  QueryBlock block;
  block.batch = batch;
  block.head = head;
  block.first = first;
  block.count = std::min(kQueries, a.queries - first);
  block.valid = a.capacity;
  if (a.lengths) block.valid = std::clamp<int64_t>(a.lengths[batch], 0, a.capacity);
  block.position = block.valid - a.queries + first;
  block.key_begin = 0;
  block.key_end = block.valid;
  if (a.causal) block.key_end = std::min(block.valid, block.position + block.count);
  if (a.window > 0) block.key_begin = std::max<int64_t>(0, block.position - a.window + 1);
  block.key_begin = std::min(block.key_begin, std::max<int64_t>(0, block.key_end));
  block.key_end = std::max(block.key_end, block.key_begin);
  block.slope = a.alibi_slopes ? a.alibi_slopes[head] * kLog2E : 0;
  if (a.segments) {
    for (int64_t i = 0; i < kQueries; ++i) {
      block.segments[i] = i < block.count ? a.segments[batch * a.queries + first + i] : -1;
    }
  }
  return block;
}

/// to (head_dim, kQueries): the block's rows of x, transposed and scaled, zeros beyond.
HWY_INLINE void pack_queries(const float* x, int64_t row, int64_t count, int64_t head_dim,
                             float factor, float* to) {
  const F32 d;
  pack_rows(x, row, count, head_dim, kQueries, to);
  const V32 by = hn::Set(d, factor);
  for (int64_t i = 0; i < head_dim * kQueries; i += kLanes) {
    hn::Store(hn::Mul(hn::Load(d, to + i), by), d, to + i);
  }
}

/// C (rows, columns) (+)= A·B in tiles.
template <bool kByColumns>
HWY_INLINE void multiply_all(const float* a, int64_t lda, const float* b, int64_t ldb, int64_t k,
                             int64_t rows, int64_t columns, float* c, int64_t ldc, bool add) {
  Tile tile;
  tile.k = k;
  tile.lda = lda;
  tile.ldb = ldb;
  tile.ldc = tile.ld_from = ldc;
  for (int64_t j = 0; j < columns; j += kTileColumns) {
    const int64_t tile_columns = std::min(kTileColumns, columns - j);
    tile.b = b + j;
    for (int64_t i = 0; i < rows; i += kTileRows) {
      tile.a = a + i * (kByColumns ? 1 : lda);
      tile.c = c + i * ldc + j;
      tile.from = add ? tile.c : nullptr;
      multiply<kByColumns>(tile, std::min(kTileRows, rows - i), tile_columns);
    }
  }
}

HWY_INLINE int64_t whole_vectors(int64_t count) { return (count + kLanes - 1) / kLanes * kLanes; }

/// Applies ALiBi and every mask to the scores of keys begin..end: what is not seen becomes -∞.
HWY_INLINE void mask_scores(const Attention& a, const QueryBlock& block, int64_t begin, int64_t end,
                            float* scores) {
  const F32 d;
  const hn::RebindToSigned<F32> di;
  const int64_t last = block.position + block.count - 1;
  const bool every = block.slope != 0 || a.segments != nullptr;
  const int64_t width = whole_vectors(block.count);
  for (int64_t j = begin; j < end; ++j) {
    const bool ahead = a.causal && j > block.position;
    const bool behind = a.window > 0 && last - j >= a.window;
    if (!every && !ahead && !behind) continue;
    float* row = scores + (j - begin) * kQueries;
    for (int64_t i = 0; i < width; i += kLanes) {
      V32 s = hn::Load(d, row + i);
      const V32 distance = hn::Iota(d, static_cast<float>(block.position + i - j));
      s = hn::NegMulAdd(hn::Abs(distance), hn::Set(d, block.slope), s);
      const V32 masked = hn::Set(d, kMinusInfinity);
      if (ahead) s = hn::IfThenElse(hn::Lt(distance, hn::Zero(d)), masked, s);
      if (behind) {
        s = hn::IfThenElse(hn::Ge(distance, hn::Set(d, static_cast<float>(a.window))), masked, s);
      }
      if (a.segments) {
        const auto other = hn::Ne(hn::Load(di, block.segments + i),
                                  hn::Set(di, a.segments[block.batch * a.queries + j]));
        s = hn::IfThenElse(hn::RebindMask(d, other), masked, s);
      }
      hn::Store(s, d, row + i);
    }
  }
}

/// Sᵀ of keys begin..end for packed queries, masked. `scores` (end - begin, kQueries).
HWY_INLINE void score_keys(const Attention& a, const QueryBlock& block, const float* k,
                           const float* packed_queries, int64_t begin, int64_t end, float* scores) {
  multiply_all<false>(k + begin * a.kv_row, a.kv_row, packed_queries, kQueries, a.head_dim,
                      end - begin, whole_vectors(block.count), scores, kQueries, false);
  mask_scores(a, block, begin, end, scores);
}

// The high and low halves of x · factor in every lane.
template <class D32, class VU>
HWY_INLINE void multiply_wide(D32 d, VU x, uint32_t factor, VU& high, VU& low) {
  const hn::RepartitionToWide<D32> d64;
  const VU f = hn::Set(d, factor);
  const auto even = hn::MulEven(x, f);
  const auto odd = hn::MulEven(hn::BitCast(d, hn::ShiftRight<32>(hn::BitCast(d64, x))), f);
  low = hn::OddEven(hn::BitCast(d, hn::ShiftLeft<32>(odd)), hn::BitCast(d, even));
  high = hn::OddEven(hn::BitCast(d, odd), hn::BitCast(d, hn::ShiftRight<32>(even)));
}

/// Multiplies the entries (end - begin, kQueries) by 1 / (1 - rate), or by 0 where dropped.
HWY_INLINE void drop(const Attention& a, const QueryBlock& block, int64_t begin, int64_t end,
                     float* x) {
  const F32 d;
  const hn::RebindToUnsigned<F32> du;
  using VU = hn::Vec<decltype(du)>;
  const auto threshold =
      static_cast<uint32_t>(std::min(4294967295.0, static_cast<double>(a.dropout) * 4294967296.0));
  const V32 keep = hn::Set(d, 1 / (1 - a.dropout));
  const auto pair = static_cast<uint32_t>(
      (static_cast<int64_t>(a.random[3]) + block.batch) * a.heads + block.head);
  for (int64_t group = begin / 4; group * 4 < end; ++group) {
    for (int64_t i = 0; i < whole_vectors(block.count); i += kLanes) {
      VU word[4] = {hn::Iota(du, static_cast<uint32_t>(block.first + i)),
                    hn::Set(du, static_cast<uint32_t>(group)), hn::Set(du, pair),
                    hn::Set(du, a.random[2])};
      uint32_t key0 = a.random[0] + a.layer;
      uint32_t key1 = a.random[1] ^ Attention::kDropoutKey;
      for (int round = 0; round < 10; ++round) {
        VU high0, low0, high1, low1;
        multiply_wide(du, word[0], 0xD2511F53U, high0, low0);
        multiply_wide(du, word[2], 0xCD9E8D57U, high1, low1);
        word[0] = hn::Xor(hn::Xor(high1, word[1]), hn::Set(du, key0));
        word[1] = low1;
        word[2] = hn::Xor(hn::Xor(high0, word[3]), hn::Set(du, key1));
        word[3] = low0;
        key0 += 0x9E3779B9U;
        key1 += 0xBB67AE85U;
      }
      for (int64_t w = 0; w < 4; ++w) {
        const int64_t j = group * 4 + w;
        if (j < begin || j >= end) continue;
        float* at = x + (j - begin) * kQueries + i;
        // word >= threshold, unsigned: max(word, threshold) == word
        const auto kept = hn::Eq(hn::Max(word[w], hn::Set(du, threshold)), word[w]);
        const V32 factor = hn::IfThenElseZero(hn::RebindMask(d, kept), keep);
        hn::Store(hn::Mul(hn::Load(d, at), factor), d, at);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::kernels::cpu
HWY_AFTER_NAMESPACE();
#endif
