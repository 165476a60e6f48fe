#include "quern/base/interrupt.h"

#include <gtest/gtest.h>
#include <signal.h>

namespace quern {
namespace {

TEST(Interrupt, FirstSignalSetsTheFlagOnly) {
  for (int number : {SIGINT, SIGTERM}) {
    const InterruptGuard guard;
    EXPECT_FALSE(interrupted());
    raise(number);
    EXPECT_TRUE(interrupted());
  }
  const InterruptGuard outer;
  EXPECT_FALSE(interrupted());
  {
    const InterruptGuard inner;
    raise(SIGINT);
  }
  EXPECT_TRUE(interrupted());
}

TEST(InterruptDeathTest, SecondSignalEndsTheProcess) {
  EXPECT_EXIT(
      {
        const InterruptGuard guard;
        raise(SIGTERM);
        raise(SIGINT);
      },
      testing::KilledBySignal(SIGINT), "");
}

TEST(InterruptDeathTest, WithoutAGuardTheSignalActsAsBefore) {
  EXPECT_EXIT(
      {
        { const InterruptGuard guard; }
        raise(SIGTERM);
      },
      testing::KilledBySignal(SIGTERM), "");
}

}  // namespace
}  // namespace quern
