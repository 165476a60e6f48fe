#include "quern/base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <vector>

#include "quern/base/heap_counter_testing.h"

namespace quern {
namespace {

TEST(ThreadPool, RunsEveryIndexOnceAtAnyNumberOfThreads) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    ASSERT_EQ(pool.threads(), threads);
    for (size_t count : {0u, 1u, 2u, 7u, 1000u}) {
      std::vector<int> hits(count, 0);
      pool.parallel_for(count, [&](size_t index, int worker) {
        ASSERT_GE(worker, 0);
        ASSERT_LT(worker, threads);
        ++hits[index];
      });
      EXPECT_EQ(std::accumulate(hits.begin(), hits.end(), 0), static_cast<int>(count));
      for (int hit : hits) EXPECT_EQ(hit, 1);
    }
  }
}

TEST(ThreadPool, SeesWritesOfTheJobBefore) {
  ThreadPool pool(4);
  std::vector<uint64_t> values(64, 0);
  for (uint64_t round = 1; round <= 20000; ++round) {
    pool.parallel_for(values.size(), [&](size_t index, int) { values[index] += round; });
  }
  for (uint64_t value : values) EXPECT_EQ(value, 20000ull * 20001 / 2);
}

TEST(ThreadPool, WakesWorkersThatSleep) {
  ThreadPool pool(2);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
    std::atomic<int> together{0};
    std::atomic<bool> met{false};
    // Each of the two indices waits for the other: it ends early only when two threads take part.
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    pool.parallel_for(2, [&](size_t, int) {
      if (together.fetch_add(1) == 1) met = true;
      while (!met && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    });
    EXPECT_TRUE(met);
  }
}

TEST(ThreadPool, RethrowsAndStaysUsable) {
  for (int threads : {1, 3}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 50; ++round) {
      EXPECT_THROW(pool.parallel_for(100,
                                     [&](size_t index, int) {
                                       if (index == 13) throw std::runtime_error("thirteen");
                                     }),
                   std::runtime_error);
      std::atomic<int> sum{0};
      pool.parallel_for(10, [&](size_t index, int) { sum += static_cast<int>(index); });
      EXPECT_EQ(sum, 45);
    }
  }
}

TEST(ThreadPool, NestedCallsRunInlineOnTheSameWorker) {
  ThreadPool pool(3);
  std::atomic<int> inner{0};
  std::atomic<int> strays{0};
  pool.parallel_for(20, [&](size_t, int outer_worker) {
    pool.parallel_for(5, [&](size_t, int inner_worker) {
      ++inner;
      if (inner_worker != outer_worker) ++strays;
    });
  });
  EXPECT_EQ(inner, 100);
  EXPECT_EQ(strays, 0);
}

TEST(ThreadPool, SeveralCallersTakeTurns) {
  ThreadPool pool(3);
  std::atomic<int> sum{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&] {
      for (int round = 0; round < 200; ++round) {
        pool.parallel_for(8, [&](size_t, int) { sum.fetch_add(1); });
      }
    });
  }
  for (auto& caller : callers) caller.join();
  EXPECT_EQ(sum, 4 * 200 * 8);
}

TEST(ThreadPool, AllocatesNothing) {
  ThreadPool pool(2);
  std::atomic<int> sum{0};
  pool.parallel_for(8, [&](size_t, int) { ++sum; });
  const uint64_t before = heap_allocations;
  for (int round = 0; round < 100; ++round) pool.parallel_for(8, [&](size_t, int) { ++sum; });
  EXPECT_EQ(heap_allocations, before);
  EXPECT_EQ(sum, 808);
}

}  // namespace
}  // namespace quern
