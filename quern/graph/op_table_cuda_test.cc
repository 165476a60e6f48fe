#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <string>
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
    if (!bench.has_both()) return;
    for (const bool in_place : {false, true}) {
      const Bench::Both both = bench.both(Column::kCuda, in_place);
      for (size_t i = 0; i < want.size(); ++i)
        expect_close(both.outputs[i], want[i], tolerance, "at once, result " + std::to_string(i));
      for (size_t i = 0; i < want_grads.size(); ++i)
        expect_close(both.grads[i], want_grads[i], tolerance,
                     "at once, gradient " + std::to_string(i));
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

bool repeats(const OpCase& c) { return c.inputs[0].type.shape != c.inputs[1].type.shape; }

std::vector<OpCase> bfloat16_cases() {
  std::vector<OpCase> cases;
  for (OpCase c : op_cases()) {
    const uint32_t mask = op_entry(c.op).activations;
    if (mask == 0 && c.op != OpCode::kEmbedding) continue;
    if (c.op == OpCode::kAdd && repeats(c)) continue;  // in F32 only
    for (size_t i = 0; i < c.inputs.size(); ++i) {
      if ((mask >> i & 1U) != 0 && c.inputs[i].type.dtype == DType::kF32)
        c.inputs[i].type.dtype = DType::kBF16;
    }
    if (c.op == OpCode::kEmbedding) std::get<EmbeddingAttrs>(c.attrs).dtype = DType::kBF16;
    cases.push_back(c);
    auto* linear = std::get_if<LinearAttrs>(&c.attrs);
    if (linear == nullptr || linear->activation != Activation::kNone) continue;
    linear->widen = true;
    for (const size_t i : {2U, 3U}) {
      if (i < c.inputs.size() && c.inputs[i].fill != InputSpec::Fill::kAbsent)
        c.inputs[i].type.dtype = DType::kF32;
    }
    c.label += " widened";
    cases.push_back(c);
  }
  return cases;
}

/// Activations in BF16 against the reference over the same rounded values in float64.
class CudaBFloat16 : public CudaOpTable {
 public:
  /// In F32, for the reference.
  static OpCase wide(OpCase c) {
    for (InputSpec& input : c.inputs) {
      if (input.type.dtype == DType::kBF16) input.type.dtype = DType::kF32;
    }
    if (auto* embedding = std::get_if<EmbeddingAttrs>(&c.attrs)) embedding->dtype = DType::kF32;
    return c;
  }

 protected:
  static bool is_bf16(const Tensor& tensor) {
    return tensor.present && tensor.type.dtype == DType::kBF16;
  }
  static Tensor wide_of(const Tensor& tensor) {
    return is_bf16(tensor) ? widened(tensor) : tensor.clone();
  }
  /// Where `like` is BF16, `values` rounded to that, and in `wide` too.
  static Tensor rounded(Tensor& wide, const Tensor& like) {
    if (!is_bf16(like)) return wide.clone();
    Tensor narrow = narrowed(wide);
    wide = widened(narrow);
    return narrow;
  }
  static void expect_near(const Tensor& got, const Tensor& want, const std::string& what) {
    expect_close(wide_of(got), want, 1e-2F, what);
  }

  void check(uint32_t wide_gradients) const {
    const std::unique_ptr<Gpu> gpu = make_gpu(true);
    const OpCase& c = GetParam();
    const OpCase wide_case = wide(c);
    ThreadPool pool(1);
    Bench narrow(c, pool, gpu.get());
    Bench reference(wide_case, pool);
    for (size_t i = 0; i < narrow.inputs.size(); ++i) {
      if (is_bf16(narrow.inputs[i])) reference.inputs[i] = widened(narrow.inputs[i]);
    }
    std::vector<Tensor> want = reference.forward(Column::kReference);
    const std::vector<Tensor> got = narrow.forward(Column::kCuda);
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < want.size(); ++i)
      expect_near(got[i], want[i], "result " + std::to_string(i));
    if (narrow.differentiable() == 0) return;
    std::vector<Tensor> kept;
    for (size_t i = 0; i < want.size(); ++i) kept.push_back(rounded(want[i], got[i]));
    for (size_t i = 0; i < narrow.output_grads.size(); ++i)
      narrow.output_grads[i] = rounded(reference.output_grads[i], narrow.output_grads[i]);
    narrow.wide_gradients = wide_gradients;
    const auto want_grads = reference.backward(want, Column::kReference, false);
    for (const bool accumulate : {false, true}) {
      const auto got_grads = narrow.backward(kept, Column::kCuda, accumulate);
      for (size_t i = 0; i < want_grads.size(); ++i) {
        const std::string what = std::string("gradient of ") +
                                 std::string(op_entry(c.op).input_names[i]) +
                                 (accumulate ? ", accumulated" : "");
        // Added to ones, and they taken away: rounded twice more, to half a unit of a sum.
        if (accumulate && is_bf16(got_grads[i])) {
          const auto values = want_grads[i].floats();
          float largest = 0;
          for (const float value : values) largest = std::max(largest, std::fabs(value));
          for (size_t k = 0; k < values.size(); ++k)
            ASSERT_NEAR(widened(got_grads[i]).floats()[k], values[k],
                        1e-2F * (largest + std::max(1.0F, std::fabs(values[k]))))
                << what;
        } else {
          expect_near(got_grads[i], want_grads[i], what);
        }
      }
    }
    if (!narrow.has_both()) return;
    const Bench::Both both = narrow.both(Column::kCuda, true);
    for (size_t i = 0; i < want.size(); ++i)
      expect_near(both.outputs[i], want[i], "at once, result " + std::to_string(i));
    for (size_t i = 0; i < want_grads.size(); ++i)
      expect_near(both.grads[i], want_grads[i], "at once, gradient " + std::to_string(i));
  }
};

// Weights and biases, parameters as a rule, have gradients in F32; a computed weight in BF16.
constexpr uint32_t kBias = 0b100, kWeightAndBias = 0b110;

TEST_P(CudaBFloat16, MatchesReference) {
  check(GetParam().op == OpCode::kLinear ? kWeightAndBias : 0);
  if (GetParam().op == OpCode::kLinear) check(kBias);
}

std::vector<OpCase> cases_with_products() {
  std::vector<OpCase> cases = op_cases();
  std::erase_if(cases, [](const OpCase& c) { return !CudaOwnProducts::multiplies(c.op); });
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Every, CudaOwnProducts, ::testing::ValuesIn(cases_with_products()),
                         parameter_name);
INSTANTIATE_TEST_SUITE_P(Every, CudaBFloat16, ::testing::ValuesIn(bfloat16_cases()),
                         parameter_name);
INSTANTIATE_TEST_SUITE_P(Every, CudaOpTable, ::testing::ValuesIn(op_cases()), parameter_name);

}  // namespace
}  // namespace quern::graph::testing
