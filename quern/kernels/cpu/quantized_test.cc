#include "quern/kernels/cpu/quantized.h"

#include <array>
#include <string>

#include "quern/kernels/cpu/kernel_testing.h"
#include "quern/kernels/reference/gemm.h"
#include "quern/tensor/buffer.h"

namespace quern::kernels::cpu {
namespace {

using testing::expect_kernel;
using testing::Floats;
using testing::normal_floats;

/// A matrix of random weights.
struct Weight {
  QuantizedMatrix matrix;
  Buffer buffer;

  Weight(int64_t rows, int64_t columns, int bits)
      : matrix{.rows = rows, .columns = columns, .bits = bits},
        buffer(static_cast<size_t>(matrix.bytes())) {
    const Floats weights = normal_floats(rows * columns, 3, 0.1);
    quantize(weights.data(), matrix, buffer.data());
    matrix.data = buffer.data();
  }
};

/// Everything that an epilogue reads and writes, in rows wider than they need be.
struct Product {
  Weight weight;
  Floats a, bias, residual, before;
  Gemm gemm;

  Product(int64_t m, int64_t n, int64_t k, int bits)
      : weight(n, k, bits),
        a(normal_floats(m * (k + 3), 5)),
        bias(normal_floats(n, 6)),
        residual(normal_floats(m * (n + 5), 7)),
        before(normal_floats(m * (n + 5), 8)) {
    gemm.m = m;
    gemm.n = n;
    gemm.k = k;
    gemm.a = a.data();
    gemm.lda = k + 3;
    gemm.transpose_b = true;
    gemm.ldc = n + 5;
  }

  /// C, then what stands before the activation.
  template <typename Multiply>
  Floats results(const Multiply& multiply) const {
    Gemm one = gemm;
    Floats c = before;
    Floats pre = before;
    one.c = c.data();
    if (one.activation != Activation::kNone) one.pre_activation = pre.data();
    multiply(one);
    c.insert(c.end(), pre.begin(), pre.end());
    return c;
  }

  void check(const std::string& what) const {
    const Floats want =
        results([&](const Gemm& one) { reference::quantized_gemm(one, weight.matrix); });
    const Buffer scratch(std::max<size_t>(1, quantized_gemm_scratch(gemm)));
    expect_kernel(want, 2e-5, what, [&](const Context& context) {
      return results(
          [&](const Gemm& one) { quantized_gemm(context, one, weight.matrix, scratch.data()); });
    });
  }
};

TEST(QuantizedGemm, MatchesTheReference) {
  for (const int bits : {8, 4}) {
    for (const int64_t k : {32, 64, 160, 1024, 4128}) {
      for (const int64_t m : {1, 2, 3, 4, 5, 8, 9, 40}) {
        for (const int64_t n : {1, 67}) {
          Product product(m, n, k, bits);
          product.check("bits " + std::to_string(bits) + ", " + std::to_string(m) + " x " +
                        std::to_string(n) + " x " + std::to_string(k));
        }
      }
    }
  }
}

TEST(QuantizedGemm, EndsAsGemmDoes) {
  for (const int bits : {8, 4}) {
    for (const int64_t m : {3, 33}) {
      for (const bool accumulate : {false, true}) {
        // Parts of 64 of the columns, where there are many rows.
        Product product(m, 150, 4096, bits);
        product.gemm.accumulate = accumulate;
        product.gemm.bias = product.bias.data();
        product.check("with a bias");
        product.gemm.activation = Activation::kGelu;
        product.gemm.residual = product.residual.data();
        product.check("with an activation and a residual");
      }
    }
  }
}

/// Up to eight rows and above: what a row gives does not depend on the rows beside it.
TEST(QuantizedGemm, RowsAreIndependent) {
  ThreadPool pool(2);
  for (const int bits : {8, 4}) {
    for (const std::array<int64_t, 2> rows : {std::array<int64_t, 2>{1, 8}, {9, 40}}) {
      const Product product(rows[1], 67, 160, bits);
      const Buffer scratch(std::max<size_t>(1, quantized_gemm_scratch(product.gemm)));
      const auto first_rows = [&](int64_t m) {
        Floats c = product.results([&](Gemm one) {
          one.m = m;
          quantized_gemm({pool}, one, product.weight.matrix, scratch.data());
        });
        c.resize(testing::extent(rows[0] * product.gemm.ldc));
        return c;
      };
      EXPECT_EQ(first_rows(rows[0]), first_rows(rows[1])) << bits << " bits";
    }
  }
}

TEST(Dequantize, GivesTheWeights) {
  for (const int bits : {8, 4}) {
    const Weight weight(300, 96, bits);
    constexpr int64_t kFirst = 7;
    constexpr int64_t kRows = 290;
    Floats want(testing::extent(kRows * 96));
    reference::dequantize(weight.matrix, kFirst, kRows, want.data());
    expect_kernel(want, 0, "bits " + std::to_string(bits), [&](const Context& context) {
      Floats got(want.size());
      dequantize(context, weight.matrix, kFirst, kRows, got.data());
      return got;
    });
  }
}

}  // namespace
}  // namespace quern::kernels::cpu
