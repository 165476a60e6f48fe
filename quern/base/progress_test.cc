#include "quern/base/progress.h"

#include <gtest/gtest.h>

#include <cmath>
#include <thread>

namespace quern {
namespace {

TEST(Progress, Durations) {
  EXPECT_EQ(format_duration(0), "0 ms");
  EXPECT_EQ(format_duration(0.34), "340 ms");
  EXPECT_EQ(format_duration(0.9999), "1.0 s");
  EXPECT_EQ(format_duration(3.21), "3.2 s");
  EXPECT_EQ(format_duration(59.97), "1 min 0 s");
  EXPECT_EQ(format_duration(250), "4 min 10 s");
  EXPECT_EQ(format_duration(3599.6), "1 h 0 min");
  EXPECT_EQ(format_duration(7500), "2 h 5 min");
  EXPECT_EQ(format_duration(86399), "1 d 0 h");
  EXPECT_EQ(format_duration(3 * 86400 + 4 * 3600), "3 d 4 h");
  EXPECT_EQ(format_duration(INFINITY), "unknown");
}

TEST(Progress, BytesAndCounts) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(999), "999 B");
  EXPECT_EQ(format_bytes(999.7), "1.0 kB");
  EXPECT_EQ(format_bytes(1.5e9), "1.5 GB");
  EXPECT_EQ(format_bytes(999960), "1.0 MB");
  EXPECT_EQ(format_count(950), "950");
  EXPECT_EQ(format_count(12.3e6), "12.3 M");
}

TEST(Progress, EstimateIsProportional) {
  Estimate estimate(10);
  EXPECT_TRUE(std::isinf(estimate.seconds_left(0)));
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  const double passed = estimate.seconds_passed();
  EXPECT_GE(passed, 0.005);
  EXPECT_GE(estimate.seconds_left(2.5), 3 * passed);
  EXPECT_EQ(estimate.seconds_left(10), 0);
}

TEST(Progress, SilentReporterTakesEverything) {
  silent_reporter().note("a");
  silent_reporter().progress("b", true);
  EXPECT_EQ(&silent_reporter(), &silent_reporter());
}

}  // namespace
}  // namespace quern
