#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "quern/base/error.h"
#include "quern/sizing/estimate.h"
#include "quern/sizing/hardware.h"
#include "quern/sizing/scaling_law.h"

namespace quern::sizing {
namespace {

model::ModelConfig gpt3() {
  model::ModelConfig config;
  model::apply_preset(config, "gpt2");
  config.vocabulary = 50257;
  config.layers = 96;
  config.heads = config.kv_heads = 96;
  config.width = 12288;
  config.ffn_width = 4 * config.width;
  config.context = 2048;
  return config;
}

TEST(ScalingLaw, GivesThePublishedFigures) {
  // Muennighoff et al. 2023 compare these two for the same compute on 25 billion unique tokens.
  EXPECT_NEAR(repeated_loss(6.34e9, 242e9, 25e9), 2.22564, 1e-4);
  EXPECT_NEAR(repeated_loss(8.67e9, 178e9, 25e9), 2.22696, 1e-4);
  // Without repeats and surplus it is the plain law.
  EXPECT_NEAR(repeated_loss(1e9, 20e9, 25e9), loss(kMuennighoff, 1e9, 20e9), 1e-12);
  EXPECT_GT(repeated_loss(1e9, 100e9, 25e9), loss(kMuennighoff, 1e9, 100e9));
}

TEST(ScalingLaw, TheBestAllocationHasNoBetterNeighbour) {
  const double flops = 6 * 70e9 * 1.4e12;  // Chinchilla's
  const Allocation best = best_allocation(kBesiroglu, flops);
  EXPECT_NEAR(6 * best.parameters * best.tokens, flops, 1e-6 * flops);
  EXPECT_NEAR(best.tokens / best.parameters, 20, 3);
  const double least = loss(kBesiroglu, best.parameters, best.tokens);
  for (const double factor : {0.5, 0.9, 1.1, 2.0})
    EXPECT_GT(loss(kBesiroglu, best.parameters * factor, best.tokens / factor), least);
}

TEST(ScalingLaw, UseMakesTheModelSmallerAndTrainsItLonger) {
  const Allocation best = best_allocation(kBesiroglu, 1e22);
  const double target = loss(kBesiroglu, best.parameters, best.tokens);
  const Allocation unused = best_allocation_for_use(kBesiroglu, target, 0);
  EXPECT_NEAR(unused.parameters / best.parameters, 1, 1e-3);
  EXPECT_NEAR(unused.tokens / best.tokens, 1, 1e-3);
  const Allocation used = best_allocation_for_use(kBesiroglu, target, 1e13);
  EXPECT_LT(used.parameters, best.parameters);
  EXPECT_GT(used.tokens, best.tokens);
  EXPECT_NEAR(loss(kBesiroglu, used.parameters, used.tokens), target, 1e-9);
  EXPECT_THROW(best_allocation_for_use(kBesiroglu, 1.5, 0), UsageError);
}

TEST(Estimate, Gpt3TakesAMonthOfAThousandGpus) {
  const Demand demand = Demand::of(gpt3(), 300e9);
  EXPECT_NEAR(demand.parameters, 175e9, 1e9);
  // Narayanan et al. 2021, section 5.1: 300 billion tokens on 1,024 A100 at 140 TFLOP/s each, with
  // activations made again, "34 days".
  const Hardware& a100 = find_hardware("a100");
  const double days = training_seconds(demand, a100, 1024, 140e12 / a100.flops, true) / 86400;
  EXPECT_NEAR(days, 34, 1);
  EXPECT_EQ(fewest_in_time(demand, a100, 140e12 / a100.flops, true, days * 86400 * 1.0001), 1024);
  EXPECT_FALSE(fit(demand, a100, 8));
  const auto fewest = fewest_that_fit(demand, a100);
  ASSERT_TRUE(fewest);
  EXPECT_FALSE(fit(demand, a100, *fewest - 1));
  ASSERT_TRUE(fit(demand, a100, *fewest));
  EXPECT_EQ(fit(demand, a100, *fewest)->stage, 3);
  EXPECT_THROW(training_seconds(demand, a100, 1, 1.2, false), UsageError);
  EXPECT_THROW(training_seconds(demand, a100, 1, 0, false), UsageError);
}

TEST(Estimate, SmallModelsFitOneAndKeepEverything) {
  model::ModelConfig config = gpt3();
  config.layers = config.heads = config.kv_heads = 12;
  config.width = 768;
  config.ffn_width = 3072;
  config.context = 1024;
  const Demand demand = Demand::of(config, 10e9);
  EXPECT_EQ(demand.parameters, 124439808);
  const auto placement = fit(demand, find_hardware("rtx4090"), 1);
  ASSERT_TRUE(placement);
  EXPECT_EQ(placement->stage, 1);
  EXPECT_FALSE(placement->recompute);
  EXPECT_EQ(placement->state, demand.parameters * 18);
  EXPECT_LT(place(demand, 1, 1, true).activations, placement->activations);
}

TEST(Estimate, FailuresAreThoseOfLlama3) {
  EXPECT_NEAR(expected_failures(54 * 24 * 16384), 419, 1);
  // Young's interval is where saving costs as much as what a failure loses.
  const double interval = checkpoint_interval(1024, 60);
  const double between = 50'700.0 * 3600 / 1024;
  EXPECT_NEAR(60 / interval, interval / 2 / between, 1e-9);
}

TEST(Hardware, NamesTheKnownOnes) {
  for (const Hardware& each : hardware_table()) {
    EXPECT_EQ(&find_hardware(each.name), &each);
    EXPECT_FALSE(each.source.empty());
  }
  try {
    find_hardware("h300");
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_THAT(error.hint(), testing::HasSubstr("h200"));
  }
}

}  // namespace
}  // namespace quern::sizing
