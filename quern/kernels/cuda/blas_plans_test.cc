#include "quern/kernels/cuda/blas_plans.h"

#include <gtest/gtest.h>

#include <vector>

#include "quern/kernels/cuda/emulated/emulated_driver.h"
#include "quern/kernels/cuda/gpu.h"
#include "quern/kernels/cuda/kernels.h"

namespace quern::kernels::cuda {
namespace {

cpu::Gemm linear(int64_t m, int64_t n, int64_t k) {
  cpu::Gemm gemm;
  gemm.m = m;
  gemm.n = gemm.ldc = n;
  gemm.k = gemm.lda = gemm.ldb = k;
  gemm.transpose_b = true;
  return gemm;
}

TEST(SplitProduct, LeavesToTheLibraryWhatItHas) {
  alignas(64) float bias[4]{}, extra[64]{}, out[64]{};
  cpu::Gemm gemm = linear(16, 4, 8);
  gemm.c = out;
  gemm.bias = bias;
  gemm.residual = extra;
  BlasSplit<float, float> split = split_product(gemm, Precision::kFloat32);
  EXPECT_EQ(split.key.epilogue, blas::kEpilogueBias);
  EXPECT_EQ(split.c, extra) << "a residual is the library's C";
  EXPECT_FALSE(split.finish);

  gemm.residual = nullptr;
  gemm.pre_activation = extra;
  gemm.activation = Activation::kGeluTanh;
  split = split_product(gemm, Precision::kFloat32);
  EXPECT_EQ(split.key.epilogue, blas::kEpilogueGeluAux | blas::kEpilogueBias);
  EXPECT_FALSE(split.key.adds);
  EXPECT_FALSE(split.finish);
  gemm.pre_activation = nullptr;
  split = split_product(gemm, Precision::kFloat32);
  EXPECT_EQ(split.key.epilogue, blas::kEpilogueGelu | blas::kEpilogueBias);
  EXPECT_FALSE(split.finish);
  gemm.pre_activation = extra;

  gemm.activation = Activation::kSilu;
  split = split_product(gemm, Precision::kFloat32);
  EXPECT_EQ(split.key.epilogue, blas::kEpilogueDefault) << "bias then stands before the activation";
  EXPECT_TRUE(split.finish);
}

TEST(SplitProduct, KnowsTheAlignmentOfItsOperands) {
  alignas(256) float x[128]{};
  cpu::Gemm gemm = linear(2, 2, 4);
  gemm.a = x;
  gemm.b = x;
  gemm.c = x;
  EXPECT_EQ(split_product(gemm, Precision::kFloat32).key.alignment, 256U);
  gemm.b = x + 3;
  EXPECT_EQ(split_product(gemm, Precision::kFloat32).key.alignment, 4U);
}

TEST(BlasPlans, AreMadeOnceAKind) {
  EmulatedDriver driver;
  BlasPlans plans(driver, emulated_blas());
  const Context context{.driver = driver};
  std::vector<float> a(32 * 8, 1), b(4 * 8, 2), c(32 * 4);
  cpu::Gemm gemm = linear(32, 4, 8);
  gemm.a = a.data();
  gemm.b = b.data();
  gemm.c = c.data();
  EXPECT_EQ(plans.run(context, gemm), BlasOutcome::kDone);
  EXPECT_EQ(plans.run(context, gemm), BlasOutcome::kDone);
  EXPECT_EQ(plans.size(), 1U);
  EXPECT_EQ(driver.products(), 2);
  for (const float value : c) EXPECT_EQ(value, 16);
  gemm.accumulate = true;
  EXPECT_EQ(plans.run(context, gemm), BlasOutcome::kDone);
  EXPECT_EQ(plans.size(), 2U) << "one that reads C is another kind";
  for (const float value : c) EXPECT_EQ(value, 32);
}

TEST(BlasPlans, AWeightsGradientBringsTheSumsOfItsFirstOperand) {
  EmulatedDriver driver;
  BlasPlans plans(driver, emulated_blas());
  const Context context{.driver = driver};
  // dW (2,4) = dYᵀ · X over 16 rows: dY holds 1 and 2, X holds 3.
  std::vector<float> y_grad, x(16 * 4, 3), weight_grad(2 * 4, 100), sums(2, 7);
  for (int row = 0; row < 16; ++row) y_grad.insert(y_grad.end(), {1, 2});
  cpu::Gemm gemm;
  gemm.m = gemm.lda = 2;
  gemm.n = gemm.ldb = gemm.ldc = 4;
  gemm.k = 16;
  gemm.transpose_a = true;
  gemm.a = y_grad.data();
  gemm.b = x.data();
  gemm.c = weight_grad.data();
  for (const bool accumulate : {false, true}) {
    gemm.accumulate = accumulate;
    ASSERT_TRUE(plans.run_with_sums(context, gemm, sums.data()));
    for (size_t i = 0; i < weight_grad.size(); ++i)
      EXPECT_EQ(weight_grad[i], (i < 4 ? 48.0F : 96.0F) * (accumulate ? 2 : 1)) << i;
    EXPECT_EQ(sums, (std::vector<float>{16, 32})) << "which are overwritten";
  }
}

TEST(BlasPlans, AnEpilogueThatTheLibraryLacksIsLeft) {
  EmulatedDriver driver;
  BlasPlans plans(driver, emulated_blas());
  const Context context{.driver = driver};
  std::vector<float> a(2 * 8, 1), b(4 * 8, 2), c(2 * 4), before(2 * 4);
  cpu::Gemm gemm = linear(2, 4, 8);
  gemm.a = a.data();
  gemm.b = b.data();
  gemm.c = c.data();
  gemm.pre_activation = before.data();
  gemm.activation = Activation::kGeluTanh;
  EXPECT_EQ(plans.run(context, gemm), BlasOutcome::kProduct);
  for (const float value : c) EXPECT_EQ(value, 16);
}

TEST(BlasPlans, AResidualInPlaceIsAddedBeforeItIsOverwritten) {
  constexpr int64_t kRows = 16;
  for (const int64_t columns : {4, 3}) {  // of three the imitation refuses the bias
    SCOPED_TRACE(columns);
    auto made = std::make_unique<EmulatedDriver>();
    EmulatedDriver& driver = *made;
    Gpu gpu(std::move(made));
    const std::vector<float> a(kRows * 8, 1), b(static_cast<size_t>(columns) * 8, 2), bias(4, 100);
    std::vector<float> c(static_cast<size_t>(kRows * columns));
    for (size_t i = 0; i < c.size(); ++i) c[i] = static_cast<float>(i);
    cpu::Gemm gemm = linear(kRows, columns, 8);
    gemm.a = a.data();
    gemm.b = b.data();
    gemm.c = c.data();
    gemm.residual = c.data();
    gemm.bias = bias.data();
    cuda::gemm(gpu.context(), gemm, nullptr);
    for (size_t i = 0; i < c.size(); ++i) EXPECT_EQ(c[i], 116 + static_cast<float>(i)) << i;
    EXPECT_EQ(driver.products(), 1) << "the library multiplies";
    EXPECT_EQ(driver.kernels_run().size(), columns == 3 ? 1U : 0U) << "which adds the bias";
  }
}

TEST(SplitProduct, RefusesAResidualThatTheProductWouldOverwrite) {
  alignas(64) float out[64]{};
  cpu::Gemm gemm = linear(16, 4, 8);
  gemm.c = out;
  gemm.residual = out;
  gemm.activation = Activation::kRelu;
  for (const bool bare : {false, true})
    EXPECT_FALSE(split_product(gemm, Precision::kFloat32, bare).possible);
}

TEST(BlasPlans, WhatTheLibraryRefusesAnOwnKernelMultiplies) {
  auto made = std::make_unique<EmulatedDriver>();
  EmulatedDriver& driver = *made;
  Gpu gpu(std::move(made));
  std::vector<float> a(16 * 3, 1), b(16 * 5, 2), c(3 * 5);
  cpu::Gemm gemm;  // the imitation has no algorithm for one column of D: here m = 1 of Aᵀ
  gemm.m = gemm.lda = 1;
  gemm.n = gemm.ldb = gemm.ldc = 5;
  gemm.k = 16;
  gemm.transpose_a = true;
  gemm.a = a.data();
  gemm.b = b.data();
  gemm.c = c.data();
  cuda::gemm(gpu.context(), gemm, nullptr);
  EXPECT_EQ(driver.products(), 0);
  EXPECT_EQ(driver.kernels_run().back(), "quern_gemm");
  for (int i = 0; i < 5; ++i) EXPECT_EQ(c[static_cast<size_t>(i)], 32);
}

TEST(Gpu, AsksForMemoryInAdvance) {
  Gpu gpu(std::make_unique<EmulatedDriver>(EmulatedDriver::Options{.memory = size_t{64} << 20}));
  gpu.require_memory(1 << 20, "training");
  try {
    gpu.require_memory(size_t{34} << 30, "training");
    FAIL() << "34 GB on a device of 64 MB";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "out_of_memory");
    const std::string what = error.what();
    EXPECT_NE(what.find("training needs 3"), std::string::npos) << what;
    EXPECT_NE(what.find("free on emulated GPU"), std::string::npos) << what;
    EXPECT_NE(error.hint().find("batch"), std::string::npos);
  }
}

}  // namespace
}  // namespace quern::kernels::cuda
