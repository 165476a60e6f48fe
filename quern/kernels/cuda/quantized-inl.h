// Quantised weights: few rows times them as they are, and what they are as floats.

#include "quern/kernels/cuda/arguments.h"
#include "quern/kernels/cuda/simt.h"

namespace quern::kernels::cuda {

using FloatQuantized = arguments::QuantizedGemm<float, float>;
using BFloat16Quantized = arguments::QuantizedGemm<BFloat16, BFloat16>;
using MixedQuantized = arguments::QuantizedGemm<BFloat16, float>;

QUERN_DEVICE float float_of_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof(value));
  return value;
}

/// What unpack() gives is above the integer that the scale multiplies by this.
template <int kBits>
constexpr float kExcess = kBits == 8 ? 0x1p15F + 128 : 32 + 8;

/// Four integers of a word: its bytes, or of 4 bits the bytes' low (half 0) or high halves. They
/// are set into a float's mantissa, under a fixed exponent: conversions are few a cycle.
template <int kBits>
QUERN_DEVICE void unpack(uint32_t word, int half, float* values) {
  if constexpr (kBits == 8) {
    const uint32_t bytes = word ^ 0x80808080U;  // q + 128
    for (uint32_t i = 0; i < 4; ++i)
      values[i] = float_of_bits(permute_bytes(bytes, 0x47000000U, 0x7404U | i << 4));
  } else {
    const uint32_t bytes = (half == 0 ? word << 2 : word >> 2) & 0x3C3C3C3CU;
    for (uint32_t i = 0; i < 4; ++i)
      values[i] = float_of_bits(permute_bytes(bytes, 0x42000000U, 0x7044U | i << 8));
  }
}
/// The weight of what unpack() gives. Exact: a scale has 11 binary digits, an integer 8.
template <int kBits>
QUERN_DEVICE float scaled(float value, float scale) {
  return fmaf(value, scale, -kExcess<kBits> * scale);
}

/// What a lane holds of its warp's rows of the weight: a load of q each, and the scale of its
/// block.
struct QuantizedLoads {
  uint32_t q[FloatQuantized::kRowsEach][4];
  Float16 scale[FloatQuantized::kRowsEach];
};

/// Where a lane is in the weight: a load of the first of its kRowsEach rows.
template <int kBits>
struct WeightPlace {
  const uint8_t* q;
  const Float16* scale;
  int64_t row_bytes, row_scales;

  QUERN_MEMBER WeightPlace(const QuantizedMatrix& weight, int64_t row, int unit)
      : q(weight.quants(row) + int64_t{FloatQuantized::kLoadBytes} * unit),
        scale(weight.scales(row) + scales_of(unit)),
        row_bytes(weight.row_bytes()),
        row_scales(weight.row_scales()) {}
  QUERN_MEMBER static int64_t scales_of(int units) { return kBits == 8 ? units / 2 : units; }
  /// By an even number of loads.
  QUERN_MEMBER void move(int64_t rows, int units) {
    q += rows * row_bytes + int64_t{FloatQuantized::kLoadBytes} * units;
    scale += rows * row_scales + scales_of(units);
  }
  /// Of the first `count` rows. What there is not stays as it was.
  QUERN_MEMBER void load(int64_t count, QuantizedLoads& to) const {
    QUERN_UNROLL
    for (int r = 0; r < FloatQuantized::kRowsEach; ++r) {
      if (r >= count) break;
      load_once(to.q[r], reinterpret_cast<const uint32_t*>(q + r * row_bytes));
      to.scale[r] = scale[r * row_scales];
    }
  }
};

/// Where a part of A stands in shared memory, as float32: (rows, staged, packets of a load). Lanes
/// that read a packet each of neighbouring loads find them in different banks, and so do threads
/// that write neighbouring packets.
template <int kBits>
struct StagedRows {
  static constexpr int kWeights = 128 / kBits;  // of a load
  static constexpr int kPackets = kWeights / 4;

  float* data;
  int staged;

  QUERN_MEMBER float* at(int row, int unit, int packet) const {
    const auto first = static_cast<uint32_t>((row * staged + unit) * kPackets);
    const uint32_t bank = static_cast<uint32_t>(unit) / (8 / kPackets) % kPackets;
    return data + (((first | bank) * 4) ^ static_cast<uint32_t>(packet * 4));
  }
};

/// A (m,k) from load `first` on, zeros past its end; by the whole block.
template <int kBits, typename In, typename Out>
QUERN_DEVICE void stage_rows(const cpu::GemmOf<In, Out>& g, int first,
                             const StagedRows<kBits>& rows) {
  constexpr int kPackets = StagedRows<kBits>::kPackets;
  constexpr int kCount = static_cast<int>(Packet<In>::kCount);
  const auto thread = static_cast<int>(thread_index());
  const auto threads = static_cast<int>(thread_count());
  const bool packets = aligned(g.a, g.lda);
  for (int row = 0; row < g.m; ++row) {
    for (int i = thread; i < rows.staged * kPackets * 4 / kCount; i += threads) {
      const int64_t column = int64_t{first} * StagedRows<kBits>::kWeights + i * kCount;
      const In* from = g.a + row * g.lda + column;
      Packet<In> in;
      if (column < g.k && packets) {
        in = load_packet(from);
      } else {
        for (int j = 0; j < kCount; ++j) in.value[j] = column < g.k ? from[j] : In{0.0F};
      }
      for (int j = 0; j < kCount; j += 4) {
        const int packet = (i * kCount + j) / 4;
        store_packet(
            rows.at(row, packet / kPackets, packet % kPackets),
            Packet<float>{{in.value[j], in.value[j + 1], in.value[j + 2], in.value[j + 3]}});
      }
    }
  }
}

/// sums (kRowsEach, kMost) += what load `unit` of the weights gives with rows of A. Each weight is
/// scaled, but for one row of A the 4-bit block is: a byte leaves time for few instructions.
template <int kBits, int kMost>
QUERN_DEVICE void add_products(const QuantizedLoads& weights, const StagedRows<kBits>& rows,
                               int unit, int m, float* sums) {
  constexpr int kRows = FloatQuantized::kRowsEach;
  constexpr bool kScaleBlocks = kBits == 4 && kMost == 1;
  float block_sums[kRows] = {};
  float total = 0;  // of A
  QUERN_UNROLL
  for (int packet = 0; packet < StagedRows<kBits>::kPackets; ++packet) {
    float w[kRows][4];
    QUERN_UNROLL
    for (int r = 0; r < kRows; ++r) {
      unpack<kBits>(weights.q[r][packet % 4], packet / 4, w[r]);
      for (int i = 0; !kScaleBlocks && i < 4; ++i)
        w[r][i] = scaled<kBits>(w[r][i], weights.scale[r]);
    }
    QUERN_UNROLL
    for (int row = 0; row < kMost; ++row) {
      if (kMost > 1 && row >= m) break;
      const Packet<float> x = load_packet(rows.at(row, unit, packet));
      QUERN_UNROLL
      for (int i = 0; i < 4; ++i) {
        if constexpr (kScaleBlocks) total += x.value[i];
        QUERN_UNROLL
        for (int r = 0; r < kRows; ++r)
          (kScaleBlocks ? block_sums[r] : sums[r * kMost + row]) += w[r][i] * x.value[i];
      }
    }
  }
  if constexpr (kScaleBlocks) {
    QUERN_UNROLL
    for (int r = 0; r < kRows; ++r)
      sums[r] += weights.scale[r] * (block_sums[r] - kExcess<kBits> * total);
  }
}

/// Sums kCount values of each of 2 kLanes lanes and leaves the sum of value i in lanes from 32 i /
/// kCount on: where lanes meet, each goes on with half of the values.
template <int kCount, int kLanes = kWarp / 2>
QUERN_DEVICE float scattered_sum(float* values) {
  if constexpr (kLanes == 0) {
    return values[0];
  } else if constexpr (kCount == 1) {
    values[0] += shuffle_xor(values[0], kLanes);
    return scattered_sum<1, kLanes / 2>(values);
  } else {
    const bool upper = (lane() & kLanes) != 0;
    QUERN_UNROLL
    for (int i = 0; i < kCount / 2; ++i) {
      const float kept = upper ? values[i + kCount / 2] : values[i];
      const float given = upper ? values[i] : values[i + kCount / 2];
      values[i] = kept + shuffle_xor(given, kLanes);
    }
    return scattered_sum<kCount / 2, kLanes / 2>(values);
  }
}

/// Up to kMost rows times the weight. `split` warps share kRowsEach rows of the weight, side by
/// side along the columns; the loads of their next turn are under way while they compute this one.
/// A stands in shared memory, in parts where it is large.
template <int kBits, int kMost, typename In, typename Out>
QUERN_DEVICE void multiply_quantized(const arguments::QuantizedGemm<In, Out>& a, float* parts) {
  constexpr int kRows = FloatQuantized::kRowsEach;
  constexpr int kSums = kRows * kMost;
  constexpr int kLanesOfSum = kWarp / kSums;
  const cpu::GemmOf<In, Out>& g = a.gemm;
  const StagedRows<kBits> rows{dynamic_shared(), a.staged};
  const auto threads = static_cast<int>(thread_count());
  const auto thread = static_cast<int>(thread_index());
  const int warp = thread / kWarp;
  const int lane = thread % kWarp;
  const auto m = static_cast<int>(g.m);
  const int block_columns = threads / kWarp / a.split * kRows;  // of C
  const int64_t stride = blocks_x() * block_columns;
  const auto units = static_cast<int>(g.k / rows.kWeights);
  const int turn_units = a.split * kWarp;
  const int own_unit = warp % a.split * kWarp + lane;
  const int own_column = warp / a.split * kRows;

  int64_t first = block_x() * block_columns;
  WeightPlace<kBits> place(a.weight, first + own_column, own_unit);
  int64_t left = g.n - first - own_column;  // rows
  QuantizedLoads next{};
  place.load(own_unit < units ? left : 0, next);
  bool there = false;  // all of A
  for (; first < g.n; first += stride) {
    float sums[kSums] = {};
    for (int staged = 0; staged < units; staged += a.staged) {
      if (!there) {
        barrier();
        stage_rows<kBits>(g, staged, rows);
        barrier();
        there = a.staged >= units;
      }
      const int end = staged + a.staged < units ? staged + a.staged : units;
      for (int unit = staged; unit < end; unit += turn_units) {
        const QuantizedLoads loads = next;
        const int following = unit + turn_units < units ? unit + turn_units : 0;
        const int64_t rows_on = following == 0 ? stride : 0;
        place.move(rows_on, following - unit);
        left -= rows_on;
        place.load(following + own_unit < units ? left : 0, next);
        add_products<kBits, kMost>(loads, rows, unit - staged + own_unit, m, sums);
      }
    }
    const float sum = scattered_sum<kSums>(sums);
    if (lane % kLanesOfSum == 0) parts[warp * kSums + lane / kLanesOfSum] = sum;
    barrier();
    for (int i = thread; i < block_columns * m; i += threads) {
      const int row = i / block_columns;
      const int of_block = i % block_columns;
      const int64_t column = first + of_block;
      if (column >= g.n) continue;
      float total = g.accumulate ? static_cast<float>(g.c[row * g.ldc + column]) : 0.0F;
      const float* part =
          parts + of_block / kRows * a.split * kSums + of_block % kRows * kMost + row;
      for (int s = 0; s < a.split; ++s) total += part[s * kSums];
      finish(g, row, column, total);
    }
    barrier();
  }
}

template <int kMost, typename In, typename Out>
QUERN_DEVICE void multiply_by_bits(const arguments::QuantizedGemm<In, Out>& a) {
  QUERN_SHARED float parts[8 * FloatQuantized::kRowsEach * kMost];
  if (a.weight.bits == 8) {
    multiply_quantized<8, kMost>(a, parts);
  } else {
    multiply_quantized<4, kMost>(a, parts);
  }
}
QUERN_BOUNDED_KERNEL(quern_quantized_row, FloatQuantized, 256, 3) { multiply_by_bits<1>(a); }
QUERN_BOUNDED_KERNEL(quern_quantized_row_bf16, BFloat16Quantized, 256, 3) {
  multiply_by_bits<1>(a);
}
QUERN_BOUNDED_KERNEL(quern_quantized_row_bf16_f32, MixedQuantized, 256, 3) {
  multiply_by_bits<1>(a);
}
QUERN_BOUNDED_KERNEL(quern_quantized_rows, FloatQuantized, 256, 2) { multiply_by_bits<8>(a); }
QUERN_BOUNDED_KERNEL(quern_quantized_rows_bf16, BFloat16Quantized, 256, 2) {
  multiply_by_bits<8>(a);
}
QUERN_BOUNDED_KERNEL(quern_quantized_rows_bf16_f32, MixedQuantized, 256, 2) {
  multiply_by_bits<8>(a);
}

/// A thread a packet of weights, all of one half of a block.
template <int kBits, typename T>
QUERN_DEVICE void expand(const arguments::Dequantize<T>& a) {
  constexpr int64_t kCount = Packet<T>::kCount;
  // Rows follow each other without a gap.
  const uint8_t* q = a.weight.quants(a.first_row);
  const Float16* scales = a.weight.scales(a.first_row);
  for (int64_t i = grid_thread(); i * kCount < a.rows * a.weight.columns; i += grid_threads()) {
    const int64_t block = i * kCount / kQuantizedBlock;
    const auto place = static_cast<int>(i * kCount % kQuantizedBlock);
    const uint8_t* from = q + block * (4 * kBits) + (kBits == 8 ? place : place % 16);
    const float scale = scales[block];
    Packet<T> packet;
    QUERN_UNROLL
    for (int64_t k = 0; k < kCount; k += 4) {
      float values[4];
      unpack<kBits>(*reinterpret_cast<const uint32_t*>(from + k), place / 16, values);
      for (int64_t j = 0; j < 4; ++j) packet.value[k + j] = scaled<kBits>(values[j], scale);
    }
    store_packet(a.out + i * kCount, packet);
  }
}
QUERN_TYPED_KERNEL(quern_dequantize, arguments::Dequantize) {
  if (a.weight.bits == 8) {
    expand<8>(a);
  } else {
    expand<4>(a);
  }
}

}  // namespace quern::kernels::cuda
