#include "quern/kernels/cpu/gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "quern/base/error.h"
#include "quern/base/random.h"
#include "quern/kernels/cpu/dispatch.h"
#include "quern/kernels/reference/gemm.h"
#include "quern/tensor/buffer.h"

namespace quern::kernels::cpu {
namespace {

std::vector<float> random_floats(int64_t count, uint64_t seed) {
  Random random(seed, Stream::kTest);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = static_cast<float>(random.normal());
  return values;
}

struct Case {
  int64_t m, n, k;
  bool transpose_a = false, transpose_b = false, accumulate = false, bias = false, pre = false;
  Activation activation = Activation::kNone;
  int residual = 0;  // 1: another buffer, 2: C itself
  int64_t pad = 0;   // added to every leading dimension
  std::string text() const {
    return std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k) + " ta" +
           std::to_string(transpose_a) + " tb" + std::to_string(transpose_b) + " acc" +
           std::to_string(accumulate) + " bias" + std::to_string(bias) + " pre" +
           std::to_string(pre) + " act" + std::to_string(static_cast<int>(activation)) + " res" +
           std::to_string(residual) + " pad" + std::to_string(pad);
  }
};

struct Result {
  std::vector<float> c, pre;
};

// Runs one case with exact-size inputs, so that a sanitizer sees every read beyond them.
template <typename Run>
Result run(const Case& s, const Run& run_one) {
  Gemm gemm;
  gemm.m = s.m, gemm.n = s.n, gemm.k = s.k;
  gemm.transpose_a = s.transpose_a, gemm.transpose_b = s.transpose_b;
  gemm.accumulate = s.accumulate;
  gemm.activation = s.activation;
  gemm.lda = (s.transpose_a ? s.m : s.k) + s.pad;
  gemm.ldb = (s.transpose_b ? s.k : s.n) + s.pad;
  gemm.ldc = s.n + s.pad;
  const auto extent = [&](int64_t rows, int64_t ld) {
    return std::max<int64_t>(0, rows * ld - s.pad);
  };
  const std::vector<float> a = random_floats(extent(s.transpose_a ? s.k : s.m, gemm.lda), 1);
  const std::vector<float> b = random_floats(extent(s.transpose_b ? s.n : s.k, gemm.ldb), 2);
  const std::vector<float> bias = random_floats(s.n, 3);
  const std::vector<float> residual = random_floats(extent(s.m, gemm.ldc), 4);
  Result result{random_floats(extent(s.m, gemm.ldc), 5), random_floats(extent(s.m, gemm.ldc), 6)};
  gemm.a = a.data(), gemm.b = b.data(), gemm.c = result.c.data();
  if (s.bias) gemm.bias = bias.data();
  if (s.pre) gemm.pre_activation = result.pre.data();
  if (s.residual == 1) gemm.residual = residual.data();
  if (s.residual == 2) gemm.residual = result.c.data();
  run_one(gemm);
  return result;
}

Result run_threads(const Case& s, int threads) {
  ThreadPool pool(threads);
  return run(s, [&](const Gemm& g) {
    const Buffer scratch(gemm_scratch(g));
    gemm(Context(pool), g, scratch.data());
  });
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void expect_near(const std::vector<float>& got, const std::vector<float>& want, int64_t k,
                 const std::string& what) {
  ASSERT_EQ(got.size(), want.size());
  // Standard normal factors: the terms of a sum have size 1, its rounding grows as √k.
  const double tolerance = 4e-6 * std::sqrt(static_cast<double>(k) + 4);
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got[i], want[i], tolerance * (1 + std::abs(want[i]))) << what << " at " << i;
  }
}

void check(const Case& s) {
  const Result want = run(s, [](const Gemm& g) { reference::gemm(g); });
  const Result one = run_threads(s, 1);
  expect_near(one.c, want.c, s.k, s.text() + " c");
  expect_near(one.pre, want.pre, s.k, s.text() + " pre");
  for (const int threads : {2, 3}) {
    const Result other = run_threads(s, threads);
    ASSERT_TRUE(same_bits(one.c, other.c) && same_bits(one.pre, other.pre))
        << s.text() << " differs at " << threads << " threads";
  }
}

// Every test runs once for each instruction set that this processor has.
class GemmTest : public testing::TestWithParam<std::string_view> {
 protected:
  void SetUp() override { force_isa(GetParam()); }
  void TearDown() override { force_isa(""); }
};
INSTANTIATE_TEST_SUITE_P(Isa, GemmTest, testing::ValuesIn(available_isas()),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(GemmTest, OddShapesInEveryOrientation) {
  const int64_t extents[][3] = {{1, 1, 1},    {1, 65, 7},   {3, 5, 2},    {7, 33, 17}, {8, 64, 32},
                                {9, 16, 64},  {12, 32, 8},  {13, 31, 9},  {25, 63, 5}, {47, 97, 33},
                                {64, 65, 66}, {6, 130, 19}, {33, 1, 100}, {100, 7, 1}, {17, 40, 37},
                                {65, 32, 32}, {95, 70, 130}};
  for (const auto& e : extents) {
    for (const bool ta : {false, true}) {
      for (const bool tb : {false, true}) {
        for (const int64_t pad : {0, 3}) {
          check(
              {.m = e[0], .n = e[1], .k = e[2], .transpose_a = ta, .transpose_b = tb, .pad = pad});
          check({.m = e[0],
                 .n = e[1],
                 .k = e[2],
                 .transpose_a = ta,
                 .transpose_b = tb,
                 .accumulate = true,
                 .pad = pad});
        }
      }
    }
  }
}

TEST_P(GemmTest, EpilogueInItsOrder) {
  for (const Activation activation : {Activation::kNone, Activation::kRelu, Activation::kGelu,
                                      Activation::kGeluTanh, Activation::kSilu}) {
    for (const int64_t m : {2, 40}) {
      for (const bool pre : {false, true}) {
        for (const int residual : {0, 1, 2}) {
          for (const bool accumulate : {false, true}) {
            if (residual == 2 && (accumulate || activation != Activation::kNone)) continue;
            check({.m = m,
                   .n = 70,
                   .k = 36,
                   .transpose_b = true,
                   .accumulate = accumulate,
                   .bias = true,
                   .pre = pre,
                   .activation = activation,
                   .residual = residual});
          }
        }
      }
    }
  }
}

TEST_P(GemmTest, SeveralBlocksOfKKeepTheEpilogueRight) {
  for (const bool accumulate : {false, true}) {
    for (const int residual : {0, 1}) {
      check({.m = 14,
             .n = 35,
             .k = 1700,
             .accumulate = accumulate,
             .bias = true,
             .pre = true,
             .activation = Activation::kGelu,
             .residual = residual});
      for (const int64_t m : {14, 78}) {
        check({.m = m,
               .n = 35,
               .k = 1700,
               .transpose_a = true,
               .accumulate = accumulate,
               .residual = residual});
      }
    }
  }
  check({.m = 14, .n = 35, .k = 1700, .transpose_b = true, .residual = 2});
  check({.m = 14, .n = 500, .k = 300, .transpose_b = true, .residual = 2});
}

TEST_P(GemmTest, WideOutputs) {
  for (const bool ta : {false, true}) {
    for (const bool tb : {false, true}) {
      for (const int64_t m : {20, 70}) {
        check({.m = m, .n = 1100, .k = 40, .transpose_a = ta, .transpose_b = tb, .bias = true});
      }
    }
  }
  check({.m = 20,
         .n = 1100,
         .k = 800,
         .transpose_b = true,
         .accumulate = true,
         .bias = true,
         .activation = Activation::kGeluTanh});
}

TEST_P(GemmTest, RowsAtPowersOfTwo) {
  check({.m = 30, .n = 40, .k = 512});
  check({.m = 30, .n = 40, .k = 1024, .transpose_b = true});
  check({.m = 530, .n = 40, .k = 33, .transpose_a = true});
  check({.m = 30, .n = 40, .k = 33, .transpose_a = true, .pad = 500});
}

TEST_P(GemmTest, NothingToSumGivesTheEpilogue) {
  check({.m = 5, .n = 3, .k = 0, .bias = true});
  check({.m = 50, .n = 3, .k = 0, .bias = true, .residual = 1});
}

TEST_P(GemmTest, ARowDoesNotDependOnItsNeighbours) {
  const auto rows = [](int64_t m) {
    return run_threads({.m = m, .n = 130, .k = 200, .transpose_b = true, .bias = true}, 2).c;
  };
  // A row alone or among a few, and a row among many.
  const std::vector<float> eight = rows(8);
  const std::vector<float> many = rows(90);
  for (const int64_t m : {1, 3, 4, 7}) {
    const std::vector<float> few = rows(m);
    EXPECT_EQ(0, std::memcmp(few.data(), eight.data(), few.size() * sizeof(float))) << m;
  }
  for (const int64_t m : {9, 30, 64}) {
    const std::vector<float> some = rows(m);
    EXPECT_EQ(0, std::memcmp(some.data(), many.data(), some.size() * sizeof(float))) << m;
  }
}

/// A (m,k) times B (k,n), or (n,k) with `transpose_b`; nothing more.
std::vector<float> product(const std::vector<float>& a, const std::vector<float>& b, int64_t m,
                           int64_t n, int64_t k, bool transpose_b = false) {
  std::vector<float> c(static_cast<size_t>(m * n));
  const Gemm g{.m = m,
               .n = n,
               .k = k,
               .a = a.data(),
               .lda = k,
               .b = b.data(),
               .ldb = transpose_b ? k : n,
               .transpose_b = transpose_b,
               .c = c.data(),
               .ldc = n};
  ThreadPool pool(1);
  const Buffer scratch(gemm_scratch(g));
  gemm(Context(pool), g, scratch.data());
  return c;
}

// A row of A with one number other than zero: C is single products, so that what is lost of one is
// not hidden in the rounding of a sum.
TEST_P(GemmTest, AProductIsRoundedAsFloat32) {
  constexpr int64_t kRows = 40, kColumns = 48, kDepth = 70;
  std::vector<float> a(kRows * kDepth);
  const std::vector<float> numbers = random_floats(kRows, 1);
  const std::vector<float> b = random_floats(kDepth * kColumns, 2);
  for (int64_t i = 0; i < kRows; ++i) {
    a[static_cast<size_t>(i * kDepth + i % kDepth)] = numbers[static_cast<size_t>(i)];
  }
  const std::vector<float> c = product(a, b, kRows, kColumns, kDepth);
  for (int64_t i = 0; i < kRows; ++i) {
    for (int64_t j = 0; j < kColumns; ++j) {
      const double want = static_cast<double>(numbers[static_cast<size_t>(i)]) *
                          static_cast<double>(b[static_cast<size_t>(i % kDepth * kColumns + j)]);
      ASSERT_NEAR(c[static_cast<size_t>(i * kColumns + j)], want, std::abs(want) * 0x1p-23)
          << i << ", " << j;
    }
  }
}

TEST_P(GemmTest, WhatIsNotFiniteStaysInItsRow) {
  constexpr int64_t kRows = 33, kSide = 40;
  std::vector<float> a = random_floats(kRows * kSide, 1);
  const std::vector<float> b = random_floats(kSide * kSide, 2);
  a[3 * kSide + 5] = std::numeric_limits<float>::quiet_NaN();
  a[20 * kSide + 39] = std::numeric_limits<float>::infinity();
  const std::vector<float> c = product(a, b, kRows, kSide, kSide, true);
  for (int64_t i = 0; i < kRows; ++i) {
    for (int64_t j = 0; j < kSide; ++j) {
      EXPECT_EQ(std::isfinite(c[static_cast<size_t>(i * kSide + j)]), i != 3 && i != 20) << i;
    }
  }
}

TEST_P(GemmTest, ColumnSum) {
  for (const int64_t m : {0, 1, 63, 64, 200}) {
    for (const int64_t n : {1, 17, 300}) {
      for (const bool accumulate : {false, true}) {
        const std::vector<float> x = random_floats(m * n, 1);
        std::vector<float> want = random_floats(n, 2);
        std::vector<float> first;
        for (const int threads : {1, 2, 3}) {
          std::vector<float> out = random_floats(n, 2);
          ThreadPool pool(threads);
          const Buffer scratch(column_sum_scratch(m, n));
          column_sum(Context(pool), x.data(), m, n, out.data(), accumulate, scratch.data());
          if (threads == 1) {
            first = out;
            reference::column_sum(x.data(), m, n, want.data(), accumulate);
            expect_near(out, want, m, "column sum");
          }
          EXPECT_TRUE(same_bits(out, first));
        }
      }
    }
  }
}

TEST(Dispatch, NamesAnUnknownInstructionSet) {
  try {
    force_isa("avx9");
    FAIL() << "no error";
  } catch (const UsageError& error) {
    EXPECT_EQ(error.code(), "isa_unknown");
    EXPECT_NE(std::string(error.what()).find("avx9"), std::string::npos);
    EXPECT_NE(error.hint().find(std::string(available_isas().front())), std::string::npos);
  }
}

TEST(Dispatch, UsesWhatIsForced) {
  for (const std::string_view isa : available_isas()) {
    force_isa(isa);
    EXPECT_EQ(active_isa(), isa);
  }
  force_isa("");
}

}  // namespace
}  // namespace quern::kernels::cpu
