#include "quern/kernels/quantized.h"

#include <gtest/gtest.h>

#include <cmath>
#include <new>
#include <random>
#include <type_traits>
#include <vector>

#include "quern/kernels/cuda/blas_plans.h"
#include "quern/kernels/cuda/emulated/emulated_driver.h"
#include "quern/kernels/cuda/gpu.h"
#include "quern/kernels/cuda/kernels.h"
#include "quern/kernels/reference/gemm.h"

// Products with quantised weights against float64 over what the weights are by definition.
namespace quern::kernels::cuda {
namespace {

using Random = std::mt19937;

float uniform(Random& random, float from, float to) {
  return std::uniform_real_distribution<float>(from, to)(random);
}

template <typename T>
std::vector<T> uniforms(int64_t count, Random& random) {
  std::vector<T> values(static_cast<size_t>(count));
  for (T& value : values) value = uniform(random, -1, 1);
  return values;
}

/// A matrix of any q and scales of both signs, at an address of its own.
class Weights {
 public:
  Weights(int64_t rows, int64_t columns, int bits, Random& random) {
    matrix_ = {.rows = rows, .columns = columns, .bits = bits};
    const auto bytes = static_cast<size_t>(matrix_.bytes());
    data_ = static_cast<std::byte*>(::operator new(bytes, std::align_val_t{64}));
    matrix_.data = data_;
    const int64_t quants = rows * matrix_.row_bytes();
    for (int64_t i = 0; i < quants; ++i) data_[i] = static_cast<std::byte>(random() & 0xFFU);
    for (int64_t i = 0; i < rows * matrix_.row_scales(); ++i) {
      const float scale = uniform(random, 0.001F, 0.01F) * (random() % 2 == 0 ? 1.0F : -1.0F);
      new (data_ + quants + 2 * i) Float16(scale);
    }
  }
  ~Weights() { ::operator delete(data_, std::align_val_t{64}); }
  Weights(const Weights&) = delete;
  Weights& operator=(const Weights&) = delete;
  const QuantizedMatrix& matrix() const { return matrix_; }

 private:
  QuantizedMatrix matrix_;
  std::byte* data_ = nullptr;
};

struct Case {
  int64_t m, n, k;
  int bits;
  bool epilogue = false, accumulate = false;
  int64_t gap = 0;  // between rows of A and of C
  bool blas = true;
};

template <typename In, typename Out>
struct Operands {
  std::vector<In> a;
  std::vector<Out> c, bias, residual;
  Operands(const Case& of, Random& random)
      : a(uniforms<In>(of.m * (of.k + of.gap), random)),
        c(uniforms<Out>(of.m * (of.n + of.gap), random)),
        bias(uniforms<Out>(of.n, random)),
        residual(uniforms<Out>(of.m * (of.n + of.gap), random)) {}
};

template <typename In, typename Out>
void expect_product(const Case& of) {
  SCOPED_TRACE(testing::Message() << of.m << " x " << of.n << " x " << of.k << ", " << of.bits
                                  << " bits, epilogue " << of.epilogue << ", adds " << of.accumulate
                                  << ", gap " << of.gap << ", vendor " << of.blas);
  Random random(static_cast<uint32_t>(of.m * 31 + of.n * 7 + of.k + of.bits));
  const Weights weights(of.n, of.k, of.bits, random);
  const Operands<In, Out> operands(of, random);
  std::vector<Out> c = operands.c;
  std::vector<Out> pre_activation = operands.c;
  cpu::GemmOf<In, Out> gemm;
  gemm.m = of.m;
  gemm.n = of.n;
  gemm.k = of.k;
  gemm.a = operands.a.data();
  gemm.lda = of.k + of.gap;
  gemm.c = c.data();
  gemm.ldc = of.n + of.gap;
  gemm.accumulate = of.accumulate;
  if (of.epilogue) {
    gemm.bias = operands.bias.data();
    gemm.pre_activation = pre_activation.data();
    gemm.activation = Activation::kGelu;
    gemm.residual = operands.residual.data();
  }

  EmulatedDriver driver;
  BlasPlans plans(driver, emulated_blas());
  const Context context{.driver = driver, .blas = of.blas ? &plans : nullptr};
  cpu::Gemm shape;
  shape.m = of.m;
  shape.n = of.n;
  shape.k = of.k;
  std::vector<std::byte> scratch(cuda::quantized_gemm_scratch(shape));
  quantized_gemm(context, gemm, weights.matrix(), scratch.data());

  const double limit = std::is_same_v<In, float> ? 1e-5 : 1e-2;
  std::vector<double> row(static_cast<size_t>(of.k));
  for (int64_t j = 0; j < of.n; ++j) {
    for (int64_t k = 0; k < of.k; ++k)
      row[static_cast<size_t>(k)] = static_cast<double>(weights.matrix().weight(j, k));
    for (int64_t i = 0; i < of.m; ++i) {
      const auto at = static_cast<size_t>(i * gemm.ldc + j);
      double want = of.accumulate ? static_cast<double>(static_cast<float>(operands.c[at])) : 0;
      double magnitudes = std::abs(want);
      const auto add = [&](double value) {
        want += value;
        magnitudes += std::abs(value);
      };
      for (int64_t k = 0; k < of.k; ++k) {
        const float x = operands.a[static_cast<size_t>(i * gemm.lda + k)];
        add(static_cast<double>(x) * row[static_cast<size_t>(k)]);
      }
      if (of.epilogue) {
        add(static_cast<double>(static_cast<float>(gemm.bias[j])));
        ASSERT_NEAR(static_cast<float>(pre_activation[at]), want, limit * magnitudes)
            << "before the activation, at " << i << ", " << j;
        want = reference::activate(Activation::kGelu, want);
        add(static_cast<double>(static_cast<float>(operands.residual[at])));
      }
      ASSERT_NEAR(static_cast<float>(c[at]), want, limit * magnitudes) << "at " << i << ", " << j;
    }
  }
  for (size_t i = 0; i < c.size(); ++i) {
    if (static_cast<int64_t>(i) % gemm.ldc < of.n) continue;
    ASSERT_EQ(static_cast<float>(c[i]), static_cast<float>(operands.c[i])) << "between rows";
  }
}

template <typename Types>
class QuantizedProduct : public testing::Test {};

template <typename First, typename Second>
struct Types {
  using In = First;
  using Out = Second;
};
using AllTypes =
    testing::Types<Types<float, float>, Types<BFloat16, BFloat16>, Types<BFloat16, float>>;
TYPED_TEST_SUITE(QuantizedProduct, AllTypes);

TYPED_TEST(QuantizedProduct, OfEachShape) {
  for (const int bits : {8, 4}) {
    for (const int64_t m : {1, 3, 8, 9, 40}) {
      for (const int64_t k : {32, 64, 96, 1024}) {
        const Case of{.m = m, .n = k == 1024 ? 33 : 7, .k = k, .bits = bits};
        expect_product<typename TypeParam::In, typename TypeParam::Out>(of);
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

TYPED_TEST(QuantizedProduct, WithEpilogueAndWhatStandsInC) {
  for (const int bits : {8, 4}) {
    for (const int64_t m : {1, 5, 21}) {
      Case of{.m = m, .n = 37, .k = 160, .bits = bits, .epilogue = true};
      expect_product<typename TypeParam::In, typename TypeParam::Out>(of);
      of.accumulate = true;
      expect_product<typename TypeParam::In, typename TypeParam::Out>(of);
      of.epilogue = false;
      expect_product<typename TypeParam::In, typename TypeParam::Out>(of);
      of.blas = false;
      expect_product<typename TypeParam::In, typename TypeParam::Out>(of);
    }
  }
}

/// Rows of A are whole packets of 16 bytes apart, or not.
TYPED_TEST(QuantizedProduct, OfRowsThatStandApart) {
  for (const int64_t gap : {8, 3}) {
    for (const int64_t m : {2, 12}) {
      for (const int bits : {8, 4}) {
        const Case of{.m = m, .n = 9, .k = 64, .bits = bits, .epilogue = true, .gap = gap};
        expect_product<typename TypeParam::In, typename TypeParam::Out>(of);
      }
    }
  }
}

/// Rows of A that take several turns of a block's warps, and of what stands in shared memory.
TYPED_TEST(QuantizedProduct, OfLongRows) {
  for (const int bits : {8, 4}) {
    for (const int64_t m : {1, 8}) {
      const Case of{.m = m, .n = 6, .k = 26016, .bits = bits};
      expect_product<typename TypeParam::In, typename TypeParam::Out>(of);
    }
  }
}

/// More rows of the weight than blocks take in one go.
TEST(QuantizedWeights, OfMoreColumnsThanBlocks) {
  expect_product<float, float>({.m = 1, .n = 3077, .k = 2080, .bits = 8});
  expect_product<float, float>({.m = 5, .n = 2055, .k = 1056, .bits = 8, .epilogue = true});
}

/// More weights than are made at a time: C, bias and residual go on at the next columns.
TEST(QuantizedWeights, OfManyRowsInPartsOfColumns) {
  const Case of{.m = 9, .n = 2061, .k = 8192, .bits = 4, .epilogue = true};
  ASSERT_GT(of.n * of.k * 4, int64_t{64} << 20);
  cpu::Gemm shape;
  shape.m = of.m;
  shape.n = of.n;
  shape.k = of.k;
  EXPECT_EQ(cuda::quantized_gemm_scratch(shape), size_t{64} << 20);
  expect_product<float, float>(of);
}

template <typename T>
void expect_rows(int bits) {
  Random random(5);
  const Weights weights(7, 96, bits, random);
  constexpr int64_t kFirst = 2, kRows = 4;
  Gpu gpu(std::make_unique<EmulatedDriver>());
  const int64_t count = kRows * weights.matrix().columns;
  std::vector<T> out(static_cast<size_t>(count));  // of operator new: aligned to 16 bytes
  dequantize(gpu.context(), weights.matrix(), kFirst, kRows, out.data());
  for (int64_t i = 0; i < count; ++i) {
    const T want = weights.matrix().weight(kFirst + i / 96, i % 96);
    ASSERT_EQ(static_cast<float>(out[static_cast<size_t>(i)]), static_cast<float>(want))
        << bits << " bits, at " << i;
  }
}

TEST(Dequantize, GivesEachWeightRoundedOnce) {
  for (const int bits : {8, 4}) {
    expect_rows<float>(bits);
    expect_rows<BFloat16>(bits);
  }
}

TEST(QuantizedTable, IsReadByTheEmbedding) {
  Random random(6);
  for (const int bits : {8, 4}) {
    const Weights weights(11, 64, bits, random);
    const std::vector<int32_t> ids = {3, 10, -1, 0, 7, 7};  // two a row
    const std::vector<float> positions = uniforms<float>(3 * 64, random);
    cpu::Embedding embedding{
        .batch = 1, .length = 3, .width = 64, .bag = 2, .vocabulary = 11, .ids = ids.data()};
    embedding.quantized = weights.matrix();
    embedding.scale = 0.5F;
    embedding.positions = positions.data();
    std::vector<float> y(3 * 64);
    Gpu gpu(std::make_unique<EmulatedDriver>());
    embedding_forward(gpu.context(), embedding, y.data());
    for (size_t i = 0; i < y.size(); ++i) {
      float want = 0;
      for (size_t j = 0; j < 2; ++j) {
        const int32_t id = ids[i / 64 * 2 + j];
        if (id >= 0) want += weights.matrix().weight(id, static_cast<int64_t>(i % 64));
      }
      ASSERT_FLOAT_EQ(y[i], 0.5F * want + positions[i]) << bits << " bits, at " << i;
    }
  }
}

}  // namespace
}  // namespace quern::kernels::cuda
