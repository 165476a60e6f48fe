#include <gtest/gtest.h>

#include "quern/base/heap_counter_testing.h"
#include "quern/infer/session.h"
#include "quern/model/decoder.h"
#include "quern/tensor/buffer.h"

namespace quern::infer {
namespace {

class Preset : public testing::TestWithParam<const char*> {
 protected:
  Preset() {
    config_.vocabulary = 100;
    config_.layers = 2;
    config_.width = 32;
    config_.ffn_width = 64;
    config_.context = 32;
    model::apply_preset(config_, GetParam());
    config_.dropout = config_.attention_dropout = config_.drop_path = 0.1F;
    config_.ngram_orders = 2;
    config_.ngram_buckets = 50;
    model::declare_parameters(config_, parameters_);
    parameters_.allocate();
    model::initialise(config_, parameters_, 1);
  }

  /// Allocations of any kind while `work` runs.
  template <typename Work>
  static uint64_t count(Work&& work) {
    const uint64_t before = heap_allocations + Buffer::allocations();
    work();
    return heap_allocations + Buffer::allocations() - before;
  }

  model::ModelConfig config_;
  graph::ParameterStore parameters_;
  ThreadPool pool_{2};
};

TEST_P(Preset, ATrainingStepAllocatesNothingAndWhatIsPlannedIsAllocated) {
  parameters_.allocate_gradients();
  graph::StateStore states;
  model::TraceOptions options;
  options.batch = 3;
  graph::PlanOptions plan_options;
  plan_options.backward = true;
  const uint64_t before = Buffer::live_bytes();
  graph::Executor executor(graph::Plan(model::trace(config_, parameters_, options), plan_options),
                           parameters_, states, pool_);
  EXPECT_EQ(executor.allocated_bytes(), executor.plan().bytes().total());
  EXPECT_EQ(Buffer::live_bytes() - before, executor.plan().bytes().total());
  executor.input("loss_weight").f32()[0] = 1;
  executor.run();
  EXPECT_EQ(count([&] { executor.run(true); }), 0U);
}

TEST_P(Preset, ADecodedTokenAllocatesNothing) {
  Session session(config_, parameters_, pool_);
  const std::vector<uint32_t> prompt = {1, 2, 3, 4, 5};
  session.feed(prompt);
  const uint32_t token = 7;
  EXPECT_EQ(count([&] { session.feed({&token, 1}); }), 0U);
}

INSTANTIATE_TEST_SUITE_P(All, Preset, testing::Values("article", "gpt2", "llama"));

}  // namespace
}  // namespace quern::infer
