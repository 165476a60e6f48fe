#include "quern/kernels/cuda/simt.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <random>
#include <vector>

// The words of tensor cores and of asynchronous copies, as the emulator speaks them, against plain
// loops over matrices.
namespace quern::kernels::cuda {
namespace {

struct Matrices {
  const BFloat16* a;  // (16,16)
  const BFloat16* b;  // (8,16): columns of b
  float* sums;        // (16,8)
  bool transposed;    // b stands as (16,8)
};

QUERN_DEVICE int lane_of_test() { return static_cast<int>(thread_index()); }

/// sums += a b: operands by copies and ldmatrix, the sums as lanes hold them.
QUERN_COOPERATIVE_KERNEL(quern_test_multiply, Matrices) {
  auto* a_tile = reinterpret_cast<BFloat16*>(dynamic_shared());
  BFloat16* b_tile = a_tile + 16 * 16;
  const int l = lane_of_test();
  copy_async<16>(a_tile + 8 * l, a.a + 8 * l, true);
  copy_async<16>(b_tile + 8 * l, a.b + 8 * (l % 16), l < 16);
  wait_copies();
  barrier();
  uint32_t left[4];
  uint32_t right[4];
  ldmatrix_x4(left, a_tile + l % 16 * 16 + l / 16 * 8);
  if (a.transposed) {
    ldmatrix_x4_transposed(right, b_tile + l % 16 * 8 + (l < 16 ? 0 : 128));
  } else {
    ldmatrix_x4(right, b_tile + l % 8 * 16 + l / 8 % 2 * 8);
  }
  float sums[4];
  for (int i = 0; i < 4; ++i) sums[i] = a.sums[(l / 4 + i / 2 * 8) * 8 + l % 4 * 2 + i % 2];
  mma_m16n8k16(sums, left, right[0], right[1]);
  for (int i = 0; i < 4; ++i) a.sums[(l / 4 + i / 2 * 8) * 8 + l % 4 * 2 + i % 2] = sums[i];
}

struct Words4 {
  const BFloat16* matrices;  // (4,8,8)
  uint32_t* words;           // (32,4)
  bool transposed;
};
QUERN_COOPERATIVE_KERNEL(quern_test_ldmatrix, Words4) {
  const int l = lane_of_test();
  uint32_t words[4];
  if (a.transposed) {
    ldmatrix_x4_transposed(words, a.matrices + 8 * l);
  } else {
    ldmatrix_x4(words, a.matrices + 8 * l);
  }
  for (int i = 0; i < 4; ++i) a.words[4 * l + i] = words[i];
}

struct Copies {
  const float* from;  // (32)
  float *early, *late, *single;
};
QUERN_COOPERATIVE_KERNEL(quern_test_copies, Copies) {
  const int l = lane_of_test();
  float* shared = dynamic_shared();
  shared[l] = 7;
  barrier();
  copy_async<4>(shared + l, a.from + l, l % 2 == 0);
  if (l < 2) copy_async<16>(shared + 32 + 4 * l, a.from + 4 * l, l == 0);
  a.early[l] = shared[l];
  wait_copies();
  barrier();
  a.late[l] = shared[l];
  if (l < 8) a.single[l] = shared[32 + l];
}

struct Shuffled {
  uint32_t* words;
};
QUERN_COOPERATIVE_KERNEL(quern_test_shuffle, Shuffled) {
  a.words[lane_of_test()] = shuffle_xor(0x80000000U + static_cast<uint32_t>(lane_of_test()), 5);
}

template <typename Arguments>
void run_warp(const char* kernel, const Arguments& arguments) {
  emulator::run(emulator::find_kernel(kernel), {.threads = 32, .shared_bytes = 4096}, &arguments);
}

/// Small whole numbers, so that sums are exact in any order.
std::vector<BFloat16> whole_numbers(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<BFloat16> values(count);
  for (BFloat16& value : values) value = static_cast<float>(static_cast<int>(random() % 17) - 8);
  return values;
}

TEST(Simt, MultipliesOnTensorCores) {
  for (const bool transposed : {false, true}) {
    SCOPED_TRACE(transposed);
    const std::vector<BFloat16> a = whole_numbers(16 * 16, 1);
    const std::vector<BFloat16> b = whole_numbers(16 * 8, 2);
    std::vector<float> sums(16 * 8);
    std::vector<float> expected(16 * 8);
    for (size_t row = 0; row < 16; ++row) {
      for (size_t column = 0; column < 8; ++column) {
        const size_t at = row * 8 + column;
        sums[at] = expected[at] = static_cast<float>(at) - 60;
        for (size_t k = 0; k < 16; ++k)
          expected[at] += a[row * 16 + k] * b[transposed ? k * 8 + column : column * 16 + k];
      }
    }
    run_warp("quern_test_multiply", Matrices{a.data(), b.data(), sums.data(), transposed});
    EXPECT_EQ(sums, expected);
  }
}

TEST(Simt, LoadsMatricesAsLanesHoldThem) {
  std::vector<BFloat16> matrices(4 * 8 * 8);
  for (size_t i = 0; i < matrices.size(); ++i) matrices[i].bits = static_cast<uint16_t>(i);
  for (const bool transposed : {false, true}) {
    std::vector<uint32_t> words(32 * 4);
    run_warp("quern_test_ldmatrix", Words4{matrices.data(), words.data(), transposed});
    for (uint32_t l = 0; l < 32; ++l) {
      for (uint32_t m = 0; m < 4; ++m) {
        // Value (row, column) of matrix m is its place.
        const uint32_t first = transposed ? l % 4 * 2 * 8 + l / 4 : l / 4 * 8 + l % 4 * 2;
        const uint32_t second = first + (transposed ? 8 : 1);
        EXPECT_EQ(words[4 * l + m], (64 * m + first) | (64 * m + second) << 16)
            << "lane " << l << ", matrix " << m << ", transposed " << transposed;
      }
    }
  }
}

TEST(Simt, CopiesLandWhereTheyAreWaitedFor) {
  alignas(16) std::array<float, 32> from{};
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<float>(i + 1);
  std::array<float, 32> early{}, late{};
  std::array<float, 8> single{};
  run_warp("quern_test_copies", Copies{from.data(), early.data(), late.data(), single.data()});
  for (size_t i = 0; i < from.size(); ++i) {
    EXPECT_TRUE(std::isnan(early[i])) << "it is read before it is waited for";
    EXPECT_EQ(late[i], i % 2 == 0 ? from[i] : 0);
  }
  for (size_t i = 0; i < single.size(); ++i) EXPECT_EQ(single[i], i < 4 ? from[i] : 0);
}

TEST(Simt, ShufflesWords) {
  std::array<uint32_t, 32> words{};
  run_warp("quern_test_shuffle", Shuffled{words.data()});
  for (uint32_t l = 0; l < 32; ++l) EXPECT_EQ(words[l], 0x80000000U + (l ^ 5U));
}

TEST(Simt, PacksTwoValuesRoundedToNearest) {
  EXPECT_EQ(pack_bf16(1, -2), 0xC0003F80U);
  EXPECT_EQ(pack_bf16(std::bit_cast<float>(0x3F808000U), std::bit_cast<float>(0x3F818000U)),
            0x3F823F80U);  // halfway: to even
}

TEST(Simt, RaisesTwo) {
  EXPECT_EQ(exp2_fast(-INFINITY), 0);
  EXPECT_EQ(exp2_fast(3), 8);
  EXPECT_EQ(exp2_fast(-140), 0) << "below the least normal number";
  EXPECT_FLOAT_EQ(exp2_fast(-0.5F), std::sqrt(0.5F));
}

TEST(Simt, BytesArePermutedByDigits) {
  EXPECT_EQ(permute_bytes(0x03020100U, 0x07060504U, 0x7241U), 0x07020401U);
  EXPECT_EQ(permute_bytes(0x03020100U, 0x07060504U, 0x3333U), 0x03030303U);
}

}  // namespace
}  // namespace quern::kernels::cuda
