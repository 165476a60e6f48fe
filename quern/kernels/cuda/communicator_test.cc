#include "quern/kernels/cuda/communicator.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "quern/base/error.h"
#include "quern/kernels/cuda/emulated/emulated_driver.h"
#include "quern/kernels/cuda/emulated/emulated_nccl.h"
#include "quern/kernels/cuda/exchange.h"
#include "quern/kernels/cuda/gpu.h"
#include "quern/kernels/cuda/shared_library.h"

// Transfers among emulated GPUs, each a thread's; and the imitation of NCCL itself, whose errors
// the tests of training rely on.
namespace quern::kernels::cuda {
namespace {

/// A rank of a test: its GPU, its communicator, floats that all can read.
struct Rank {
  Rank(const NcclId& id, int count, int number)
      : rank(number),
        gpu(std::make_unique<EmulatedDriver>()),
        driver(static_cast<EmulatedDriver&>(gpu.driver())),
        communicator(driver, id, count, number),
        memory(64 * sizeof(float), &driver, Memory::kShared),
        data(reinterpret_cast<float*>(memory.data())) {}

  int rank;
  Gpu gpu;
  EmulatedDriver& driver;
  Communicator communicator;
  Buffer memory;
  float* data;
};

void with_ranks(int count, const std::function<void(Rank&)>& body) {
  EmulatedDriver any;
  const NcclId id = Communicator::make_id(any);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < count; ++rank) {
    threads.emplace_back([&, rank] {
      Rank me(id, count, rank);
      body(me);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(Communicator, AddsUpOnTheOwnerAlone) {
  with_ranks(3, [](Rank& me) {
    for (int i = 0; i < 8; ++i) me.data[i] = static_cast<float>(i + 100 * me.rank);
    me.communicator.reduce(me.data, 8, 1);
    me.communicator.check_transfers();
    for (int i = 0; i < 8; ++i)
      EXPECT_EQ(me.data[i], static_cast<float>(me.rank == 1 ? 3 * i + 300 : i + 100 * me.rank));
    me.communicator.close();
  });
}

TEST(Communicator, GroupsTransfersInBothDirections) {
  with_ranks(4, [](Rank& me) {
    // More than a socket holds, so that one must be read while another is written.
    constexpr size_t kCount = 300'000;
    const Buffer buffer(4 * kCount * sizeof(float), &me.driver, Memory::kDevice);
    auto* floats = reinterpret_cast<float*>(buffer.data());
    me.driver.queue([&] {
      for (size_t i = 0; i < kCount; ++i)
        floats[static_cast<size_t>(me.rank) * kCount + i] = static_cast<float>(me.rank + 1);
    });
    me.communicator.group([&] {
      for (int peer = 0; peer < 4; ++peer) {
        if (peer == me.rank) continue;
        me.communicator.send(floats + static_cast<size_t>(me.rank) * kCount, kCount, peer);
        me.communicator.receive(floats + static_cast<size_t>(peer) * kCount, kCount, peer);
      }
    });
    me.communicator.check_transfers();
    me.driver.queue([&] {
      for (size_t peer = 0; peer < 4; ++peer) {
        EXPECT_EQ(floats[peer * kCount], static_cast<float>(peer + 1));
        EXPECT_EQ(floats[peer * kCount + kCount - 1], static_cast<float>(peer + 1));
      }
    });
    me.communicator.close();
  });
}

TEST(Communicator, IsCapturedAndLaunchedAgain) {
  with_ranks(2, [](Rank& me) {
    const Event queued = me.driver.make_event();
    const Event through = me.driver.make_event();
    me.driver.begin_capture();
    me.driver.record(queued, Queue::kCompute);
    me.driver.wait(queued, Queue::kExchange);
    me.communicator.broadcast(me.data, 4, 1);
    me.driver.record(through, Queue::kExchange);
    me.driver.wait(through, Queue::kCompute);
    const auto graph = me.driver.end_capture();
    for (int time = 1; time < 4; ++time) {
      me.data[0] = static_cast<float>(me.rank * time);
      graph->launch();
      EXPECT_EQ(me.data[0], static_cast<float>(time));
    }
    me.communicator.close();
  });
}

TEST(Communicator, CallsThatDoNotMatchAreAnError) {
  with_ranks(2, [](Rank& me) {
    me.communicator.broadcast(me.data, me.rank == 0 ? 8 : 16, 0);
    if (me.rank == 0) return;
    try {
      me.communicator.check_transfers();
      ADD_FAILURE() << "a broadcast of another size went through";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), "nccl");
      EXPECT_NE(std::string(error.what()).find("invalid usage"), std::string::npos);
      EXPECT_NE(error.hint().find("NCCL_DEBUG"), std::string::npos);
    }
  });
}

TEST(Communicator, APeerThatIsGoneIsAnErrorAndItsTransferEnds) {
  const int before = emulated_nccl_aborts();
  with_ranks(2, [](Rank& me) {
    if (me.rank == 1) return;
    me.communicator.receive(me.data, 4, 1);
    EXPECT_THROW(me.communicator.check_transfers(), Error);
    me.communicator.abort();
  });
  EXPECT_EQ(emulated_nccl_aborts() - before, 2) << "one by abort(), one by the end without close()";
}

TEST(Communicator, ARefusedCallIsNamed) {
  with_ranks(1, [](Rank& me) {
    try {
      me.communicator.broadcast(me.data, 4, 7);
      ADD_FAILURE() << "there is no rank 7";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("ncclBroadcast"), std::string::npos);
    }
    me.communicator.close();
  });
}

TEST(Nccl, SaysWhatToInstallWhereItIsMissing) {
  try {
    find_nccl(SharedLibrary{"libquern-no-such-library.so"});
    FAIL() << "a library that is not there was found";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), "no_nccl");
    EXPECT_NE(error.hint().find("libnccl2"), std::string::npos);
  }
}

TEST(EmulatedCapture, RefusesWhatCudaRefuses) {
  EmulatedDriver driver;
  const Event before = driver.make_event();
  const Event inside = driver.make_event();
  driver.record(before, Queue::kCompute);
  driver.begin_capture();
  EXPECT_THROW(driver.wait(before, Queue::kCompute), DeviceError) << "what is outside";
  driver.record(inside, Queue::kCompute);
  driver.wait(inside, Queue::kExchange);
  EXPECT_THROW(driver.end_capture(), DeviceError) << "the exchange queue was not waited for";
  EXPECT_THROW(driver.wait(inside, Queue::kCompute), DeviceError) << "an event of a capture";
}

TEST(Exchange, AddsInThePairwiseTreeOfTheHost) {
  // Sums of these depend on their order.
  constexpr float kParts[] = {1e8F, 1, -1e8F, 1, 3, 1e-3F, 7e7F};
  constexpr int64_t kCount = 700;
  for (const int ranks : {2, 3, 4, 7}) {
    for (int rank = 0; rank < ranks; ++rank) {
      Gpu gpu(std::make_unique<EmulatedDriver>());
      const Buffer own(kCount * sizeof(float), &gpu.driver(), Memory::kShared);
      const Buffer incoming(static_cast<size_t>(ranks) * kCount * sizeof(float), &gpu.driver(),
                            Memory::kShared);
      auto* mine = reinterpret_cast<float*>(own.data());
      auto* theirs = reinterpret_cast<float*>(incoming.data());
      std::vector<float> tree(kParts, kParts + ranks);
      for (int64_t i = 0, at = 0; i < ranks; ++i) {
        float* part = i == rank ? mine : theirs + kCount * at++;
        for (int64_t k = 0; k < kCount; ++k) part[k] = kParts[i] * static_cast<float>(k + 1);
      }
      for (size_t stride = 1; stride < tree.size(); stride *= 2) {
        for (size_t i = 0; i + stride < tree.size(); i += 2 * stride) tree[i] += tree[i + stride];
      }
      tree_add(gpu.context(), mine, theirs, kCount, kCount, rank, ranks);
      EXPECT_EQ(mine[0], tree[0]) << ranks << " ranks, rank " << rank;
      EXPECT_EQ(mine[1], 2 * tree[0]);
    }
  }
}

TEST(Exchange, SquaresEachUnitByItself) {
  Gpu gpu(std::make_unique<EmulatedDriver>());
  const std::vector<int64_t> bounds = {16, 17, 1040, 5000};
  const Buffer x(5000 * sizeof(float), &gpu.driver(), Memory::kShared);
  const Buffer table(bounds.size() * sizeof(int64_t), &gpu.driver(), Memory::kShared);
  const Buffer out(3 * sizeof(double), &gpu.driver(), Memory::kShared);
  auto* floats = reinterpret_cast<float*>(x.data());
  for (int i = 0; i < 5000; ++i) floats[i] = static_cast<float>(i % 13);
  std::memcpy(table.data(), bounds.data(), table.size());
  auto* squares = reinterpret_cast<double*>(out.data());
  unit_squares(gpu.context(), floats, reinterpret_cast<const int64_t*>(table.data()), 3, squares);
  for (size_t unit = 0; unit < 3; ++unit) {
    double expected = 0;
    for (auto i = bounds[unit]; i < bounds[unit + 1]; ++i)
      expected += static_cast<double>(i % 13) * static_cast<double>(i % 13);
    EXPECT_EQ(squares[unit], expected);
  }
}

}  // namespace
}  // namespace quern::kernels::cuda
