#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "quern/base/random.h"
#include "quern/infer/session.h"
#include "quern/kernels/cuda/emulated/emulated_driver.h"
#include "quern/kernels/cuda/gpu.h"
#include "quern/model/decoder.h"

// Decoding on the emulated GPU gives the processor's logits.
namespace quern::infer {
namespace {

struct Model {
  model::ModelConfig config;
  graph::ParameterStore parameters;

  Model() {
    config.layers = 1;
    config.heads = 4;
    config.kv_heads = 2;
    config.width = 16;
    config.ffn_width = 24;
    config.context = 20;
    config.vocabulary = 31;
    model::apply_preset(config, "llama");
    model::declare_parameters(config, parameters);
    parameters.allocate();
    model::initialise(config, parameters, 5);
  }
};

class CudaSession : public ::testing::TestWithParam<kernels::cuda::Precision> {};

TEST_P(CudaSession, DecodesAsTheProcessorDoes) {
  auto driver = std::make_unique<kernels::cuda::EmulatedDriver>();
  const kernels::cuda::EmulatedDriver& emulated = *driver;
  kernels::cuda::Gpu gpu(std::move(driver), GetParam());
  const bool bf16 = GetParam() == kernels::cuda::Precision::kBf16;
  const float tolerance = bf16 ? 1e-3F : 1e-5F;
  ThreadPool pool(1);
  Model cpu_model;
  Model gpu_model;
  gpu_model.parameters.use(&gpu);  // what is loaded moves there
  Session cpu(cpu_model.config, cpu_model.parameters, pool);
  Session cuda(gpu_model.config, gpu_model.parameters, pool);
  std::vector<uint32_t> tokens(9);
  std::iota(tokens.begin(), tokens.end(), 3);
  for (int step = 0; step < 4; ++step) {
    const auto want = cpu.feed(tokens);
    const auto got = cuda.feed(tokens);
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], tolerance) << step;
    tokens.assign(1, static_cast<uint32_t>(7 + step));
  }
  const auto& ran = emulated.kernels_run();
  EXPECT_EQ(std::count(ran.begin(), ran.end(), "quern_narrow"), bf16 ? 3 : 0)
      << "the weights' copy is made with the plans of 16, 4 and 1 tokens, not with each token";
  EXPECT_EQ(std::count(ran.begin(), ran.end(), "quern_few_rows_bf16") > 0, bf16);
}

INSTANTIATE_TEST_SUITE_P(Precisions, CudaSession,
                         ::testing::Values(kernels::cuda::Precision::kFloat32,
                                           kernels::cuda::Precision::kBf16),
                         [](const auto& info) {
                           return info.param == kernels::cuda::Precision::kBf16 ? "bf16"
                                                                                : "float32";
                         });

}  // namespace
}  // namespace quern::infer
