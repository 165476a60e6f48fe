#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <optional>

#include "quern/graph/graph_testing.h"
#include "quern/graph/plan.h"
#include "quern/graph/replay.h"
#include "quern/kernels/cuda/emulated/emulated_driver.h"
#include "quern/kernels/cuda/gpu.h"

// Whole plans on the emulated GPU: the arena, staging, capture and errors are the program's own.
namespace quern::graph::testing {
namespace {

using kernels::cuda::EmulatedDriver;
using kernels::cuda::Gpu;

constexpr int64_t kBatch = 2, kLength = 7;

struct Trained {
  explicit Trained(Gpu* gpu, PlanOptions options = {.backward = true}) : pool(1) {
    decoder = make_decoder(parameters, 1, kBatch, kLength);
    parameters.use(gpu);
    parameters.allocate();
    parameters.allocate_gradients();
    fill_parameters(parameters, 5);
    executor.emplace(Plan(decoder.graph, std::move(options)), parameters, states, pool);
    fill(0);
  }

  void fill(uint64_t seed) {
    Random random(9 + seed, Stream::kTest);
    for (int32_t& id : executor->input("ids").i32_span())
      id = static_cast<int32_t>(random.below(23));
    for (int32_t& id : executor->input("targets").i32_span())
      id = static_cast<int32_t>(random.below(23));
    executor->input("loss_weight").f32()[0] = 1.0F / 30;
    for (uint32_t i = 0; i < 4; ++i) executor->input("random").u32()[i] = 3 + i;
  }
  std::vector<float> gradients() const {
    const auto all = parameters.gradients();
    return {all.begin(), all.end()};
  }
  float loss() const { return executor->output("loss").f32()[0]; }

  ThreadPool pool;
  ParameterStore parameters;
  StateStore states;
  Decoder decoder;
  std::optional<Executor> executor;
};

struct Device {
  explicit Device(EmulatedDriver::Options options = {})
      : gpu([&] {
          auto made = std::make_unique<EmulatedDriver>(options);
          driver = made.get();
          return made;
        }()) {}
  EmulatedDriver* driver = nullptr;
  Gpu gpu;
};

void expect_same(const Trained& got, const Trained& want) {
  EXPECT_NEAR(got.loss(), want.loss(), 1e-5F);
  const auto a = got.gradients();
  const auto b = want.gradients();
  float most = 0;
  for (const float g : b) most = std::max(most, std::fabs(g));
  EXPECT_GT(most, 0);
  for (size_t i = 0; i < b.size(); ++i) ASSERT_NEAR(a[i], b[i], 1e-5F * most) << i;
}

TEST(CudaExecutor, TrainsAsTheProcessorDoes) {
  Device device;
  Trained cuda(&device.gpu);
  Trained cpu(nullptr);
  // Plain, captured, replayed; then the same that accumulates.
  for (uint64_t run = 0; run < 6; ++run) {
    for (Trained* t : {&cuda, &cpu}) {
      t->fill(run);
      t->executor->run(run >= 3);
    }
    SCOPED_TRACE(run);
    expect_same(cuda, cpu);
  }
  EXPECT_EQ(device.driver->graph_launches(), 4);
  EXPECT_GT(device.driver->products(), 0);
}

TEST(CudaExecutor, SameBitsTwice) {
  std::vector<float> first;
  for (int time = 0; time < 2; ++time) {
    Device device;
    Trained t(&device.gpu);
    t.executor->run();
    std::vector<float> all = t.gradients();
    all.push_back(t.loss());
    if (first.empty()) first = all;
    EXPECT_EQ(0, std::memcmp(first.data(), all.data(), all.size() * sizeof(float)));
  }
}

TEST(CudaExecutor, AllocatesWhatIsPlanned) {
  Device device;
  const size_t before = device.driver->free_bytes();
  Trained t(&device.gpu);
  const size_t planned = t.executor->plan().bytes(DeviceKind::kCuda).total();
  EXPECT_EQ(t.executor->allocated_bytes(), planned);
  EXPECT_EQ(before - device.driver->free_bytes(), planned + t.parameters.allocated_bytes());
}

TEST(CudaExecutor, InputsMayBeFilledWhileItComputes) {
  Device device;
  Trained t(&device.gpu);
  Trained cpu(nullptr);
  t.executor->start();
  t.fill(1);
  t.executor->finish();
  cpu.executor->run();
  expect_same(t, cpu);
}

TEST(CudaExecutor, SaysWhatItNeedsBeforeItAllocates) {
  const Trained fits(nullptr);
  const size_t plan = fits.executor->plan().bytes(DeviceKind::kCuda).total();
  const size_t rest = kernels::cuda::BlasPlans::kWorkspaceBytes + sizeof(uint32_t) +
                      fits.parameters.allocated_bytes();
  Device device({.memory = rest + plan - 1});
  try {
    Trained t(&device.gpu);
    FAIL() << "a plan larger than the device was made";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "out_of_memory");
    EXPECT_NE(std::string(error.what()).find("are free on emulated GPU"), std::string::npos)
        << error.what();
    EXPECT_FALSE(error.hint().empty());
  }
  EXPECT_EQ(device.driver->free_bytes(), plan - 1 + fits.parameters.allocated_bytes());
}

TEST(CudaExecutor, AnErrorNamesTheOpAndItsShapes) {
  Device device({.fail_launch = 2});
  Trained t(&device.gpu);
  try {
    t.executor->run();
    FAIL() << "the failed launch went unseen";
  } catch (const DeviceError& error) {
    const std::string what = error.what();
    EXPECT_NE(what.find("illegal memory access"), std::string::npos) << what;
    EXPECT_NE(what.find('('), std::string::npos) << what;
    EXPECT_NE(what.find("over "), std::string::npos) << what;
  }
}

TEST(CudaExecutor, AnIndexOutsideIsAnErrorAfterTheRun) {
  Device device;
  Trained t(&device.gpu);
  t.executor->input("ids").i32()[0] = 1000;
  try {
    t.executor->run();
    FAIL() << "an id past the vocabulary went unseen";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "bad_index");
    const std::string what = error.what();
    EXPECT_NE(what.find("embedding over ids: ids (2, 7)"), std::string::npos) << what;
    EXPECT_NE(what.find("(23, "), std::string::npos) << "the table's shape, too: " << what;
  }
  t.fill(0);
  t.executor->run();  // it is forgotten
}

TEST(CudaExecutor, AttentionIsObservedAsOnTheProcessor) {
  const auto weights = [](Gpu* gpu) {
    std::vector<float> seen;
    PlanOptions options;
    options.observe.push_back({.layer = 0,
                               .tap = Tap::kAttention,
                               .heads = {1},
                               .observe = [&](int32_t, int64_t, int64_t, TensorView data) {
                                 const auto floats = data.f32_span();
                                 seen.insert(seen.end(), floats.begin(), floats.end());
                               }});
    Trained t(gpu, std::move(options));
    t.executor->run();
    return seen;
  };
  Device device;
  const std::vector<float> got = weights(&device.gpu);
  const std::vector<float> want = weights(nullptr);
  ASSERT_EQ(got.size(), want.size());
  ASSERT_FALSE(want.empty());
  for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-5F) << i;
}

TEST(Replay, IsPlainThenCapturedThenLaunched) {
  EmulatedDriver driver;
  Replay replay(driver, true);
  int queued = 0;
  const auto work = [&] { ++queued; };
  replay.run({}, work);
  EXPECT_EQ(driver.graph_launches(), 0);
  replay.run({}, work);
  EXPECT_EQ(driver.graph_launches(), 1);
  replay.run({}, work);
  EXPECT_EQ(queued, 2);
  EXPECT_EQ(driver.graph_launches(), 2);
  replay.run({.accumulates = true}, work);
  EXPECT_EQ(queued, 3) << "the accumulating kind has a graph of its own";
  replay.run({.followed = true}, work);
  EXPECT_EQ(queued, 4) << "so has the one that others queue work into";
  Replay plain(driver, false);
  for (int i = 0; i < 3; ++i) plain.run({}, work);
  EXPECT_EQ(queued, 7);
}

TEST(CudaExecutor, WhatFollowsAStepIsPartOfTheGraph) {
  Device device;
  Trained t(&device.gpu);
  const auto first = static_cast<int32_t>(0);
  int calls = 0;
  int64_t* seen = nullptr;
  const Buffer counter(sizeof(int64_t), device.driver, Memory::kShared);
  seen = reinterpret_cast<int64_t*>(counter.data());
  const auto follow = [&](int32_t step) {
    ++calls;
    if (step == first) device.driver->queue([seen] { ++*seen; });
  };
  int steps = 0;
  for (int run = 1; run <= 4; ++run) {
    t.executor->start(false, follow);
    t.executor->finish();
    EXPECT_EQ(*seen, run);
    if (run == 1) steps = calls;
    EXPECT_EQ(calls, run == 1 ? steps : 2 * steps) << "called when queued: plain and captured";
  }
  t.executor->run();
  EXPECT_EQ(*seen, 4) << "a run that nothing follows has another graph";
}

}  // namespace
}  // namespace quern::graph::testing
