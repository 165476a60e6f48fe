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
constexpr float kExcess = kBits == 8 ? 0 : 24;

/// Four integers of a word: its bytes, or of 4 bits the bytes' low (half 0) or high halves. They
/// are set into a float's mantissa, under a fixed exponent: conversions are few a cycle.
template <int kBits>
QUERN_DEVICE void unpack(uint32_t word, int half, float* values) {
  if constexpr (kBits == 8) {
    const uint32_t above = word ^ 0x80808080U;  // by 128
    for (uint32_t i = 0; i < 4; ++i)
      values[i] = float_of_bits(permute_bytes(above, 0x4B000000U, 0x7440U | i)) - (0x1p23F + 128);
  } else {
    // 16 + q: the sign 0, the exponent 131, whose lowest bit is the byte's highest, then q.
    const uint32_t shifted = half == 0 ? word << 3 : word >> 1;
    const uint32_t bytes = (shifted & 0x78787878U) | 0x80808080U;
    for (uint32_t i = 0; i < 4; ++i)
      values[i] = float_of_bits(permute_bytes(bytes, 0x41000000U, 0x7044U | i << 8));
  }
}

/// What a lane holds of its warp's rows of the weight: a load of q each, and the scale of its
/// block.
struct QuantizedLoads {
  uint32_t q[FloatQuantized::kRowsEach][4];
  float scale[FloatQuantized::kRowsEach];
};

/// Load `unit` of the rows from `row` on; zeros where there is none.
template <int kBits>
QUERN_DEVICE void load_weights(const QuantizedMatrix& weight, int64_t row, int64_t unit,
                               int64_t units, QuantizedLoads& to) {
  constexpr int64_t kUnitsOfBlock = kBits == 8 ? 2 : 1;
  QUERN_UNROLL
  for (int64_t r = 0; r < FloatQuantized::kRowsEach; ++r) {
    for (int i = 0; i < 4; ++i) to.q[r][i] = 0;
    to.scale[r] = 0;
    if (unit < units && row + r < weight.rows) {
      load_once(to.q[r], reinterpret_cast<const uint32_t*>(weight.quants(row + r)) + 4 * unit);
      to.scale[r] = weight.scales(row + r)[unit / kUnitsOfBlock];
    }
  }
}

/// Where a part of A stands in shared memory: (rows, staged, packets of a load). Lanes that read a
/// packet each of neighbouring loads find them in different banks, and so do threads that write
/// neighbouring packets.
template <int kBits, typename In>
struct StagedRows {
  static constexpr int kWeights = 128 / kBits;  // of a load
  static constexpr int kCount = static_cast<int>(Packet<In>::kCount);
  static constexpr int kPackets = kWeights / kCount;

  In* data;
  int64_t staged;

  QUERN_MEMBER In* at(int64_t row, int64_t unit, int64_t packet) const {
    const int64_t place = packet ^ (unit * kPackets / 8 % kPackets);
    return data + ((row * staged + unit) * kPackets + place) * kCount;
  }
};

/// A (m,k) from load `first` on, zeros past its end; by the whole block.
template <int kBits, typename In, typename Out>
QUERN_DEVICE void stage_rows(const cpu::GemmOf<In, Out>& g, int64_t first,
                             const StagedRows<kBits, In>& rows) {
  constexpr int64_t kPackets = StagedRows<kBits, In>::kPackets;
  constexpr int64_t kCount = StagedRows<kBits, In>::kCount;
  const bool packets = aligned(g.a, g.lda);
  for (int64_t row = 0; row < g.m; ++row) {
    for (int64_t i = thread_index(); i < rows.staged * kPackets; i += thread_count()) {
      const int64_t column = (first * kPackets + i) * kCount;
      const In* from = g.a + row * g.lda + column;
      Packet<In> packet;
      if (column < g.k && packets) {
        packet = load_packet(from);
      } else {
        for (int64_t j = 0; j < kCount; ++j) packet.value[j] = column < g.k ? from[j] : In{0.0F};
      }
      store_packet(rows.at(row, i / kPackets, i % kPackets), packet);
    }
  }
}

/// sums (kRowsEach, kMost) += what load `unit` of the weights gives with rows of A.
template <int kBits, int kMost, typename In>
QUERN_DEVICE void add_products(const QuantizedLoads& weights, const StagedRows<kBits, In>& rows,
                               int64_t unit, int64_t m, float* sums) {
  constexpr int kRows = static_cast<int>(FloatQuantized::kRowsEach);
  constexpr int kCount = StagedRows<kBits, In>::kCount;
  QUERN_UNROLL
  for (int half = 0; half < 8 / kBits; ++half) {  // 16 weights
    float w[kRows][16];
    QUERN_UNROLL
    for (int r = 0; r < kRows; ++r) {
      QUERN_UNROLL
      for (int i = 0; i < 4; ++i) unpack<kBits>(weights.q[r][i], half, w[r] + 4 * i);
    }
    QUERN_UNROLL
    for (int row = 0; row < kMost; ++row) {
      if (row >= m) break;
      float x[16];
      QUERN_UNROLL
      for (int i = 0; i < 16; i += kCount) {
        const Packet<In> packet = load_packet(rows.at(row, unit, (16 * half + i) / kCount));
        for (int j = 0; j < kCount; ++j) x[i + j] = packet.value[j];
      }
      float excess = 0;
      if constexpr (kExcess<kBits> != 0) {
        QUERN_UNROLL
        for (int i = 0; i < 16; ++i) excess += x[i];
        excess *= kExcess<kBits>;
      }
      QUERN_UNROLL
      for (int r = 0; r < kRows; ++r) {
        float sum = -excess;
        QUERN_UNROLL
        for (int i = 0; i < 16; ++i) sum += w[r][i] * x[i];
        sums[r * kMost + row] += weights.scale[r] * sum;
      }
    }
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
  constexpr int64_t kRows = FloatQuantized::kRowsEach;
  constexpr int kSums = static_cast<int>(kRows) * kMost;
  const cpu::GemmOf<In, Out>& g = a.gemm;
  const StagedRows<kBits, In> rows{reinterpret_cast<In*>(dynamic_shared()), a.staged};
  const int64_t warps = thread_count() / kWarp;
  const int64_t warp = thread_index() / kWarp;
  const int64_t block_columns = warps / a.split * kRows;  // of C
  const int64_t stride = blocks_x() * block_columns;
  const int64_t units = g.k / rows.kWeights;
  const int64_t turn_units = a.split * kWarp;
  const int64_t own_unit = warp % a.split * kWarp + lane();
  const int64_t own_column = warp / a.split * kRows;
  const bool stays = a.staged >= units;

  QuantizedLoads next;
  int64_t first = block_x() * block_columns;
  load_weights<kBits>(a.weight, first + own_column, own_unit, units, next);
  bool there = false;
  for (; first < g.n; first += stride) {
    float sums[kSums] = {};
    for (int64_t staged = 0; staged < units; staged += a.staged) {
      if (!there) {
        barrier();
        stage_rows<kBits>(g, staged, rows);
        barrier();
        there = stays;
      }
      const int64_t end = smaller(units, staged + a.staged);
      for (int64_t unit = staged; unit < end; unit += turn_units) {
        const QuantizedLoads loads = next;
        const bool more = unit + turn_units < units;
        load_weights<kBits>(a.weight, (more ? first : first + stride) + own_column,
                            (more ? unit + turn_units : 0) + own_unit, units, next);
        add_products<kBits, kMost>(loads, rows, unit - staged + own_unit, g.m, sums);
      }
    }
    const float sum = scattered_sum<kSums>(sums);
    if (lane() % (kWarp / kSums) == 0) parts[warp * kSums + lane() / (kWarp / kSums)] = sum;
    barrier();
    for (int64_t i = thread_index(); i < block_columns * g.m; i += thread_count()) {
      const int64_t row = i / block_columns;
      const int64_t of_block = i % block_columns;
      const int64_t column = first + of_block;
      if (column >= g.n) continue;
      float total = g.accumulate ? static_cast<float>(g.c[row * g.ldc + column]) : 0.0F;
      const float* part =
          parts + of_block / kRows * a.split * kSums + of_block % kRows * kMost + row;
      for (int64_t s = 0; s < a.split; ++s) total += part[s * kSums];
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
      for (int64_t j = 0; j < 4; ++j) packet.value[k + j] = scale * (values[j] - kExcess<kBits>);
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
