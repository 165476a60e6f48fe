#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string_view>

#include "quern/graph/op_testing.h"
#include "quern/kernels/cuda/emulated/emulated_driver.h"
#include "quern/kernels/cuda/gpu.h"

// Every op's CUDA kernels against its reference, forward and backward, with the kernels' own
// sources run by the processor (kernels/cuda/emulator.h): once with products by the imitation of
// cuBLASLt, once by own kernels. With QUERN_TEST_GPU=float32 (tf32, bf16) on the machine's GPU
// instead.
namespace quern::graph::testing {
namespace {

using kernels::cuda::EmulatedDriver;
using kernels::cuda::Gpu;

class CudaOpTable : public ::testing::TestWithParam<OpCase> {
 public:
  static bool multiplies(OpCode op) {
    return op == OpCode::kLinear || op == OpCode::kGroupedLinear || op == OpCode::kMuon;
  }

 protected:
  static std::unique_ptr<Gpu> make_gpu(bool blas) {
    if (precision() != nullptr) {
      using enum kernels::cuda::Precision;
      const std::string_view name = precision();
      return kernels::cuda::open_gpu(name == "bf16" ? kBf16 : name == "tf32" ? kTf32 : kFloat32);
    }
    return std::make_unique<Gpu>(
        std::make_unique<EmulatedDriver>(EmulatedDriver::Options{.blas = blas}));
  }
  static const char* precision() { return std::getenv("QUERN_TEST_GPU"); }
  /// Operands of products keep 8 or 10 bits.
  static bool rounds(OpCode op) {
    return multiplies(op) && precision() != nullptr && std::string_view(precision()) != "float32";
  }

  void check(Bench& bench) const {
    const OpCase& c = GetParam();
    const float tolerance = rounds(c.op) ? 1e-2F : c.tolerance;
    const std::vector<Tensor> want = bench.forward(Column::kReference);
    const std::vector<Tensor> got = bench.forward(Column::kCuda);
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < want.size(); ++i)
      expect_close(got[i], want[i], tolerance, "result " + std::to_string(i));
    if (bench.differentiable() == 0) return;
    const auto want_grads = bench.backward(want, Column::kReference, false);
    for (const bool accumulate : {false, true}) {
      const auto got_grads = bench.backward(want, Column::kCuda, accumulate);
      for (size_t i = 0; i < want_grads.size(); ++i) {
        expect_close(got_grads[i], want_grads[i], tolerance,
                     std::string("gradient of ") + std::string(op_entry(c.op).input_names[i]) +
                         (accumulate ? ", accumulated" : ""));
      }
    }
  }

  ThreadPool pool_{1};
};

TEST_P(CudaOpTable, KernelMatchesReference) {
  const std::unique_ptr<Gpu> gpu = make_gpu(true);
  Bench bench(GetParam(), pool_, gpu.get());
  check(bench);
}

/// The ops that multiply matrices, without cuBLASLt.
class CudaOwnProducts : public CudaOpTable {};

TEST_P(CudaOwnProducts, MatchReference) {
  const std::unique_ptr<Gpu> gpu = make_gpu(false);
  Bench bench(GetParam(), pool_, gpu.get());
  check(bench);
}

std::vector<OpCase> cases_with_products() {
  std::vector<OpCase> cases = op_cases();
  std::erase_if(cases, [](const OpCase& c) { return !CudaOwnProducts::multiplies(c.op); });
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Every, CudaOwnProducts, ::testing::ValuesIn(cases_with_products()),
                         parameter_name);
INSTANTIATE_TEST_SUITE_P(Every, CudaOpTable, ::testing::ValuesIn(op_cases()), parameter_name);

}  // namespace
}  // namespace quern::graph::testing
