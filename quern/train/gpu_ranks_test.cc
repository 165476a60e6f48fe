#include "quern/train/gpu_ranks.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "quern/base/error.h"
#include "quern/kernels/cuda/emulated/emulated_driver.h"
#include "quern/kernels/cuda/emulated/emulated_nccl.h"
#include "quern/task/text_problem.h"
#include "quern/train/engine.h"
#include "quern/train/gather.h"
#include "quern/train/gpu_exchange.h"
#include "quern/train/ranks_testing.h"
#include "quern/train/text_testing.h"

// Training on several emulated GPUs, each a rank's and a thread's, that pass floats through an
// imitation of NCCL.
namespace quern::train {
namespace {

using kernels::cuda::EmulatedDriver;
using kernels::cuda::Gpu;
using kernels::cuda::Precision;

constexpr int64_t kVocabulary = 19;

EmulatedDriver& emulated(Gpu& gpu) { return static_cast<EmulatedDriver&>(gpu.driver()); }

/// as_ranks(), with a GPU for each, joined where there are several.
void as_gpu_ranks(int count, const std::function<void(Ranks&, Gpu&)>& body,
                  Precision precision = Precision::kFloat32) {
  std::vector<std::unique_ptr<Gpu>> gpus;
  for (int i = 0; i < count; ++i) {
    // In bfloat16 weights are rounded by chance, which must follow the sample as well.
    gpus.push_back(std::make_unique<Gpu>(std::make_unique<EmulatedDriver>(), precision,
                                         precision == Precision::kBf16));
  }
  as_ranks(count, [&](Ranks& ranks) {
    Gpu& gpu = *gpus[static_cast<size_t>(ranks.rank())];
    if (count > 1) ranks.join_gpus(gpu);
    body(ranks, gpu);
    ranks.part();
  });
}

/// With dropout, so that what is drawn must follow the sample and not the rank; with gradients that
/// are whole after many different steps.
std::unique_ptr<task::TextProblem> make_problem() {
  model::ModelConfig config =
      small_model("gpt2", {.vocabulary = kVocabulary, .layers = 1, .width = 8, .context = 6});
  config.dropout = 0.1F;
  return std::make_unique<task::TextProblem>(config, random_stream(kVocabulary, 400, 1),
                                             random_stream(kVocabulary, 60, 2), 0, 1);
}

Outcome train(int count, const EngineOptions& options, int64_t steps,
              Precision precision = Precision::kFloat32) {
  Outcome outcome;
  as_gpu_ranks(
      count,
      [&](Ranks& ranks, Gpu& gpu) {
        const auto problem = make_problem();
        ThreadPool pool(1);
        EngineOptions mine = options;
        mine.gpu = &gpu;
        const size_t before = gpu.driver().free_bytes();
        Engine engine(*problem, mine, pool, ranks);
        EXPECT_EQ(engine.planned_bytes(), engine.allocated_bytes());
        EXPECT_EQ(before - gpu.driver().free_bytes(), engine.planned_bytes());
        std::vector<double> losses = train_steps(engine, steps);
        if (steps > 1) {
          EXPECT_GT(emulated(gpu).graph_launches(), 0) << "later steps are replays";
        }
        write_outcome(outcome, engine, ranks, std::move(losses));
      },
      precision);
  return outcome;
}

/// Of several units and less than one.
graph::ParameterStore three_parameters() {
  graph::ParameterStore store;
  store.declare("first", Shape{400, 300}, graph::ParameterGroup::kMatrix);
  store.declare("second", Shape{500, 700}, graph::ParameterGroup::kMatrix);
  store.declare("bias", Shape{40}, graph::ParameterGroup::kVector);
  store.lay_out();
  return store;
}
const std::vector<int32_t> kWholeAfter = {5, 3, 4};  // the steps that make them whole

TEST(PlanExchange, CoversTheArenaInTheOrderOfBackward) {
  const graph::ParameterStore store = three_parameters();
  for (const size_t most : {Shards::kUnit, 4 * Shards::kUnit}) {
    const Shards shards(store, 3, false);
    const auto chunks = plan_exchange(shards, kWholeAfter, most);
    std::vector<int> covered(store.arena_floats());
    int32_t last = -1;
    for (const ExchangeChunk& chunk : chunks) {
      EXPECT_LE(chunk.count(), most);
      EXPECT_GE(chunk.whole_after, last);
      last = chunk.whole_after;
      const auto owned = shards.owned(chunk.owner);
      EXPECT_TRUE(owned.begin <= chunk.range.begin && chunk.range.end <= owned.end);
      for (size_t i = chunk.range.begin; i < chunk.range.end; ++i) ++covered[i];
      for (size_t i = 0; i < kWholeAfter.size(); ++i) {
        const auto& info = store.parameters()[i];
        const size_t end = info.offset + static_cast<size_t>(info.shape.elements());
        const auto part = common(chunk.range, {info.offset, end});
        if (part.begin < part.end) {
          EXPECT_GE(chunk.whole_after, kWholeAfter[i]) << info.name << " is sent too early";
        }
      }
    }
    EXPECT_EQ(std::count(covered.begin(), covered.end(), 1), std::ssize(covered));
  }
}

TEST(CudaExchange, EveryOwnerHasTheSum) {
  const graph::ParameterStore store = three_parameters();
  const auto part = [](int rank, size_t i) {
    return static_cast<float>(static_cast<int>(i * 7 % 1000) - 500 + 1000 * rank);
  };
  for (const int count : {2, 3, 4}) {
    for (const bool exact : {false, true}) {
      SCOPED_TRACE(testing::Message() << count << " ranks" << (exact ? ", exact" : ""));
      as_gpu_ranks(count, [&](Ranks& ranks, Gpu& gpu) {
        const Shards shards(store, count, false);
        const Buffer arena(store.arena_floats() * sizeof(float), &gpu.driver(), Memory::kShared);
        const std::span gradients(reinterpret_cast<float*>(arena.data()), store.arena_floats());
        GpuExchange exchange(*ranks.gpus(), shards, gradients, kWholeAfter, {.exact = exact});
        EXPECT_EQ(exchange.allocated_bytes(),
                  GpuExchange::planned_bytes(count, gradients.size(), {.exact = exact}));
        const auto owned = shards.owned(ranks.rank());
        for (int round = 0; round < 2; ++round) {
          for (size_t i = 0; i < gradients.size(); ++i) gradients[i] = part(ranks.rank(), i);
          exchange.begin();
          for (int32_t step = 0; step < 7; ++step) exchange.advance(step);
          exchange.finish();
          int wrong = 0;
          for (size_t i = owned.begin; i < owned.end; ++i) {
            float sum = 0;
            for (int rank = 0; rank < count; ++rank) sum += part(rank, i);
            wrong += gradients[i] != sum ? 1 : 0;
          }
          EXPECT_EQ(wrong, 0) << "of " << owned.end - owned.begin;
        }
        exchange.share(gradients);
        for (int owner = 0; owner < count; ++owner) {
          const size_t i = shards.owned(owner).begin;
          float sum = 0;
          for (int rank = 0; rank < count; ++rank) sum += part(rank, i);
          EXPECT_EQ(gradients[i], sum) << "the values of rank " << owner;
        }
      });
    }
  }
}

TEST(CudaRankEngine, ExactRanksGiveTheSameBits) {
  for (const bool muon : {false, true}) {
    SCOPED_TRACE(muon);
    const Outcome one = train(1, rank_options(true, muon), 3);
    // Eight run one leaf each, and exchange while it runs; two add four leaves first.
    for (const int count : muon ? std::vector{2} : std::vector{2, 8}) {
      const Outcome many = train(count, rank_options(true, muon), 3);
      EXPECT_TRUE(same_bits(one.values, many.values)) << count << " ranks";
      EXPECT_EQ(one.losses, many.losses);
      EXPECT_EQ(one.validation, many.validation);
      EXPECT_EQ(one.norm, many.norm);
    }
  }
}

TEST(CudaRankEngine, ExactRanksGiveTheSameBitsInBFloat16) {
  const Outcome one = train(1, rank_options(true), 3, Precision::kBf16);
  const Outcome two = train(2, rank_options(true), 3, Precision::kBf16);
  EXPECT_TRUE(same_bits(one.values, two.values));
  EXPECT_EQ(one.losses, two.losses);
  EXPECT_EQ(one.norm, two.norm);
}

/// Plain, captured and replayed steps; gradients of one leaf, and of three.
TEST(CudaRankEngine, RanksAgreeWithinRounding) {
  for (const int64_t accumulate : {1, 6}) {
    SCOPED_TRACE(accumulate);
    EngineOptions options = rank_options(false);
    options.accumulate = accumulate;
    options.batch = 12;
    const Outcome one = train(1, options, 4);
    const Outcome two = train(2, options, 4);
    for (size_t step = 0; step < one.losses.size(); ++step)
      EXPECT_NEAR(one.losses[step], two.losses[step], 1e-6);
    EXPECT_NEAR(static_cast<double>(one.norm), static_cast<double>(two.norm), 1e-5);
    EXPECT_NEAR(one.validation, two.validation, 1e-6);
  }
}

TEST(CudaRankEngine, CheckpointsPassBetweenRanksAndDevices) {
  const fs::path folder =
      fs::temp_directory_path() / ("quern_gpu_ranks_test." + std::to_string(getpid()));
  fs::create_directories(folder);
  const EngineOptions options = rank_options(true);
  const Outcome whole = train(1, options, 4);
  as_gpu_ranks(2, [&](Ranks& ranks, Gpu& gpu) {
    const auto problem = make_problem();
    ThreadPool pool(1);
    EngineOptions mine = options;
    mine.gpu = &gpu;
    Engine engine(*problem, mine, pool, ranks);
    for (int64_t step = 0; step < 2; ++step) engine.step(step, 1e-3);
    engine.keep_best();
    const GatheredTensors gathered = gather(ranks, engine.tensors());
    if (!ranks.root()) return;
    Progress progress;
    progress.step = 2;
    save_checkpoint(folder, progress, gathered.tensors);
  });
  const fs::path path = folder / "step-2.safetensors";
  for (const int count : {1, 2}) {
    SCOPED_TRACE(count);
    as_gpu_ranks(count, [&](Ranks& ranks, Gpu& gpu) {
      for (const bool cuda : {true, false}) {
        const auto problem = make_problem();
        ThreadPool pool(1);
        EngineOptions mine = options;
        if (cuda) mine.gpu = &gpu;
        Engine engine(*problem, mine, pool, ranks);
        load_checkpoint(path, engine.tensors());
        std::vector<double> losses;
        for (int64_t step = 2; step < 4; ++step) losses.push_back(engine.step(step, 1e-3));
        if (cuda) {
          EXPECT_TRUE(same_bits(whole.values, engine.parameters().values()));
        } else {
          EXPECT_NEAR(losses[1], whole.losses[3], 1e-5) << "on the processor";
        }
      }
    });
  }
  fs::remove_all(folder);
}

TEST(CudaRanks, ARankThatWaitsForOneThatIsGoneEndsItsTransfers) {
  const int before = kernels::cuda::emulated_nccl_aborts();
  std::vector<std::unique_ptr<Gpu>> gpus;
  for (int i = 0; i < 2; ++i)
    gpus.push_back(std::make_unique<Gpu>(std::make_unique<EmulatedDriver>()));
  as_ranks(2, [&](Ranks& ranks) {
    Gpu& gpu = *gpus[static_cast<size_t>(ranks.rank())];
    ranks.join_gpus(gpu);
    if (ranks.rank() == 1) return;  // without a word
    const Buffer data(64, &gpu.driver(), Memory::kShared);
    ranks.gpus()->communicator().receive(reinterpret_cast<float*>(data.data()), 16, 1);
    const Event event = gpu.driver().make_event();
    gpu.driver().record(event, Queue::kExchange);
    // A kernel that waits for its peer never ends, so that its event is never reached.
    emulated(gpu).answer(false);
    try {
      ranks.gpus()->wait(event);
      ADD_FAILURE() << "what a lost rank was to send came";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), "nccl");
      EXPECT_NE(std::string(error.what()).find("a transfer between GPUs failed"),
                std::string::npos);
      EXPECT_NE(error.hint().find("--resume"), std::string::npos);
    }
    EXPECT_GE(kernels::cuda::emulated_nccl_aborts() - before, 1);
  });
}

TEST(CudaRanks, EachIsGivenAGpuOfItsOwn) {
  for (int place = 0; place < 4; ++place) EXPECT_EQ(gpu_of_rank(8, place, 4), place);
  EXPECT_EQ(gpu_of_rank(1, 3, 4), 0) << "one alone is shown: its own, or open_gpu() refuses it";
  try {
    gpu_of_rank(2, 0, 4);
    FAIL() << "four ranks on two GPUs";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "too_few_gpus");
    EXPECT_NE(std::string(error.what()).find("2 GPUs are seen, and 4 ranks"), std::string::npos);
    EXPECT_NE(error.hint().find("mpirun -np 2"), std::string::npos);
  }
}

TEST(CudaRanks, TrainingWithoutThemJoinedIsRefused) {
  as_ranks(2, [](Ranks& ranks) {
    Gpu gpu(std::make_unique<EmulatedDriver>());
    const auto problem = make_problem();
    ThreadPool pool(1);
    EngineOptions options = rank_options(false);
    options.gpu = &gpu;
    EXPECT_THROW(Engine(*problem, options, pool, ranks), Error);
  });
}

TEST(CudaUnitSquares, AreTheSameOnBothSides) {
  Gpu gpu(std::make_unique<EmulatedDriver>());
  ThreadPool pool(1);
  std::vector<std::vector<double>> squares;
  for (Gpu* where : {static_cast<Gpu*>(nullptr), &gpu}) {
    graph::ParameterStore store;
    store.declare("wide", Shape{300, 500}, graph::ParameterGroup::kMatrix);
    store.declare("bias", Shape{33}, graph::ParameterGroup::kVector);
    store.use(where);
    store.allocate_gradients();
    const auto gradients = store.gradients();
    for (size_t i = 0; i < gradients.size(); ++i) gradients[i] = static_cast<float>(i % 11);
    const Shards shards(store, 2, false);
    for (const int rank : {0, 1}) {
      const UnitSquares measured(shards, rank, store, pool);
      EXPECT_EQ(measured.allocated_bytes(),
                UnitSquares::planned_bytes(
                    shards, rank, where == nullptr ? DeviceKind::kCpu : DeviceKind::kCuda));
      squares.push_back(measured.measure());
    }
  }
  EXPECT_EQ(squares[0], squares[2]);
  EXPECT_EQ(squares[1], squares[3]);
  EXPECT_GT(std::accumulate(squares[1].begin(), squares[1].end(), 0.0), 0);
}

}  // namespace
}  // namespace quern::train
