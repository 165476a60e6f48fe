#include <gtest/gtest.h>

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

TEST(CudaSession, DecodesAsTheProcessorDoes) {
  kernels::cuda::Gpu gpu(std::make_unique<kernels::cuda::EmulatedDriver>());
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
    for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-5F) << step;
    tokens.assign(1, static_cast<uint32_t>(7 + step));
  }
}

}  // namespace
}  // namespace quern::infer
