#include "quern/graph/plan_cache.h"

#include <gtest/gtest.h>

#include "quern/tensor/buffer.h"

namespace quern::graph {
namespace {

class PlanCacheTest : public ::testing::Test {
 protected:
  /// y = 2 x over `rows` rows of 16 floats: 64 bytes a row for x, as many for y.
  Executor make(int64_t rows) {
    ++made_;
    Graph g;
    const Value x = g.input("x", {DType::kF32, {rows, 16}});
    g.name_output("y", scale(g, x, 2));
    return {Plan(std::move(g), {}), parameters_, states_, pool_};
  }
  Executor& get(PlanCache& cache, int64_t rows) {
    return cache.get({1, rows, 16}, [&] { return make(rows); });
  }

  ThreadPool pool_{1};
  ParameterStore parameters_;
  StateStore states_;
  int made_ = 0;
};

TEST_F(PlanCacheTest, MakesEachPlanOnce) {
  PlanCache cache(1 << 20);
  Executor& one = get(cache, 3);
  one.input("x").f32()[5] = 4;
  one.run();
  EXPECT_EQ(get(cache, 3).output("y").f32()[5], 8);
  get(cache, 4);
  EXPECT_EQ(made_, 2);
  EXPECT_FALSE(cache.contains({2, 3, 16})) << "another use is another plan";
  EXPECT_EQ(cache.bytes(), (3 + 4) * 2 * 64U);
}

TEST_F(PlanCacheTest, DropsTheLeastRecentlyUsed) {
  const uint64_t before = Buffer::live_bytes();
  PlanCache cache(10 * 2 * 64);
  get(cache, 4);
  get(cache, 5);
  get(cache, 4);  // now 5 is the older one
  get(cache, 6);
  EXPECT_TRUE(cache.contains({1, 4, 16}));
  EXPECT_FALSE(cache.contains({1, 5, 16}));
  EXPECT_EQ(cache.bytes(), 10 * 2 * 64U);
  EXPECT_EQ(Buffer::live_bytes() - before, cache.bytes()) << "what is dropped is freed";
  get(cache, 50);
  EXPECT_EQ(cache.size(), 1U) << "the newest stays though it is over the bound";
  get(cache, 1);
  EXPECT_FALSE(cache.contains({1, 50, 16}));
  cache.clear();
  EXPECT_EQ(Buffer::live_bytes(), before);
}

}  // namespace
}  // namespace quern::graph
