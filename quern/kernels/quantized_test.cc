#include "quern/kernels/quantized.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

#include "quern/base/random.h"
#include "quern/kernels/quantized_golden.h"

namespace quern::kernels {
namespace {

/// A matrix with memory of its own.
struct Owned {
  QuantizedMatrix matrix;
  std::vector<std::byte> bytes;

  Owned(const float* weights, int64_t rows, int64_t columns, int bits)
      : matrix{.rows = rows, .columns = columns, .bits = bits} {
    bytes.resize(static_cast<size_t>(matrix.bytes()));
    quantize(weights, matrix, bytes.data());
    matrix.data = bytes.data();
  }
};

/// GGUF's blocks: a scale, then its integers.
void expect_blocks(const Owned& made, std::span<const uint8_t> want,
                   std::span<const float> weights) {
  const auto block = static_cast<size_t>(kQuantizedBlock * made.matrix.bits / 8);
  for (int64_t row = 0; row < made.matrix.rows; ++row) {
    const std::span<const uint8_t> one =
        want.subspan(static_cast<size_t>(row) * (block + 2), block + 2);
    EXPECT_EQ(made.matrix.scales(row)[0].bits, one[0] | one[1] << 8) << "scale of block " << row;
    EXPECT_EQ(0, std::memcmp(made.matrix.quants(row), one.data() + 2, block)) << "block " << row;
    for (int64_t column = 0; column < kQuantizedBlock; ++column) {
      EXPECT_EQ(made.matrix.weight(row, column),
                weights[static_cast<size_t>(row * kQuantizedBlock + column)])
          << "block " << row << ", weight " << column;
    }
  }
}

TEST(Quantized, RoundsAsTheGgufPackageDoes) {
  expect_blocks(Owned(golden::kWeights, golden::kBlocks, kQuantizedBlock, 8), golden::kQ8_0,
                golden::kQ8_0Weights);
  expect_blocks(Owned(golden::kWeights, golden::kBlocks, kQuantizedBlock, 4), golden::kQ4_0,
                golden::kQ4_0Weights);
}

/// A row of several blocks is those blocks one after the other.
TEST(Quantized, RowsAreBlocks) {
  for (const int bits : {8, 4}) {
    const Owned wide(golden::kWeights, golden::kBlocks / 3, 3 * kQuantizedBlock, bits);
    const Owned narrow(golden::kWeights, golden::kBlocks, kQuantizedBlock, bits);
    for (int64_t i = 0; i < golden::kBlocks * kQuantizedBlock; ++i) {
      EXPECT_EQ(wide.matrix.weight(i / wide.matrix.columns, i % wide.matrix.columns),
                narrow.matrix.weight(i / kQuantizedBlock, i % kQuantizedBlock));
    }
  }
}

/// Half a step of the integers, and half a unit in the scale's last place for each of them. Of four
/// bits the far end may be a whole step off: 7 stands for what would be 8.
TEST(Quantized, LosesAtMostHalfAStep) {
  Random random(5, Stream::kTest);
  std::vector<float> weights(40 * 96);
  for (float& weight : weights) weight = static_cast<float>(random.normal());
  for (const int bits : {8, 4}) {
    const Owned made(weights.data(), 40, 96, bits);
    for (int64_t block = 0; block < 40 * 3; ++block) {
      const float* from = weights.data() + block * kQuantizedBlock;
      float most = 0;
      for (int64_t i = 0; i < kQuantizedBlock; ++i) most = std::max(most, std::fabs(from[i]));
      const float step = most / (bits == 8 ? 127 : 8);
      const float bound = (bits == 8 ? 0.5F : 1) * step + most * 0x1p-11F + 1e-6F;
      for (int64_t i = 0; i < kQuantizedBlock; ++i)
        EXPECT_NEAR(made.matrix.weight(block / 3, block % 3 * kQuantizedBlock + i), from[i], bound);
    }
  }
}

TEST(Float16, RoundsToNearestEven) {
  const auto bits = [](float value) { return Float16(value).bits; };
  EXPECT_EQ(bits(1), 0x3C00);
  EXPECT_EQ(bits(1 + 0x1p-11F), 0x3C00) << "a tie, to even";
  EXPECT_EQ(bits(1 + 0x3p-11F), 0x3C02) << "a tie, to even";
  EXPECT_EQ(bits(-65504), 0xFBFF);
  EXPECT_EQ(bits(65520), 0x7C00) << "a tie at the end of the range";
  EXPECT_EQ(bits(0x1p-24F), 0x0001);
  EXPECT_EQ(bits(0x1p-25F), 0x0000) << "a tie, to even";
  EXPECT_EQ(bits(std::numeric_limits<float>::infinity()), 0x7C00);
  EXPECT_TRUE(std::isnan(static_cast<float>(Float16(NAN))));
  for (uint32_t i = 0; i < 0x10000; ++i) {
    Float16 half;
    half.bits = static_cast<uint16_t>(i);
    const float value = half;
    if (std::isnan(value)) continue;
    EXPECT_EQ(bits(value), half.bits);
  }
}

}  // namespace
}  // namespace quern::kernels
