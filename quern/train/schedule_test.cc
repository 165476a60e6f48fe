#include "quern/train/schedule.h"

#include <gtest/gtest.h>

#include <cmath>

#include "quern/base/error.h"

namespace quern::train {
namespace {

TEST(Schedule, WarmsUpLinearly) {
  const Schedule schedule{ScheduleKind::kCosine, 1e-3, 1e-4, 10, 110};
  EXPECT_DOUBLE_EQ(schedule.rate(0), 1e-4);
  EXPECT_DOUBLE_EQ(schedule.rate(4), 5e-4);
  EXPECT_DOUBLE_EQ(schedule.rate(9), 1e-3);
  EXPECT_DOUBLE_EQ(schedule.rate(10), 1e-3);
}

TEST(Schedule, CosinePassesItsMiddleAndEndsAtTheMinimum) {
  const Schedule schedule{ScheduleKind::kCosine, 1.0, 0.1, 0, 101};
  EXPECT_NEAR(schedule.rate(50), 0.55, 1e-12);
  EXPECT_NEAR(schedule.rate(25), 0.1 + 0.45 * (1 + std::sqrt(0.5)), 1e-12);
  EXPECT_NEAR(schedule.rate(100), 0.1, 1e-12);
  EXPECT_NEAR(schedule.rate(1000), 0.1, 1e-12);
}

TEST(Schedule, LinearConstantAndStable) {
  EXPECT_NEAR((Schedule{ScheduleKind::kLinear, 1.0, 0.0, 0, 101}.rate(25)), 0.75, 1e-12);
  EXPECT_DOUBLE_EQ((Schedule{ScheduleKind::kConstant, 0.3, 0.0, 0, 11}.rate(10)), 0.3);
  const Schedule stable{ScheduleKind::kWarmupStableDecay, 1.0, 0.2, 0, 101};
  EXPECT_DOUBLE_EQ(stable.rate(80), 1.0);
  EXPECT_NEAR(stable.rate(90), 0.6, 1e-12);
  EXPECT_NEAR(stable.rate(100), 0.2, 1e-12);
}

TEST(Schedule, UnknownNameIsRefused) { EXPECT_THROW(parse_schedule("cosin"), UsageError); }

}  // namespace
}  // namespace quern::train
