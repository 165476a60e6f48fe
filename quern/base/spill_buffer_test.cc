#include "quern/base/spill_buffer.h"

#include <gtest/gtest.h>

namespace quern {
namespace {

TEST(SpillBuffer, GivesBackWhatWasAppendedInMemoryAndOnDisk) {
  for (const size_t budget : {size_t{1} << 30, size_t{1000}}) {
    SpillBuffer buffer(budget);
    for (uint64_t i = 0; i < 2'000'000; ++i) buffer.append_value(i * i);
    buffer.finish();
    EXPECT_EQ(buffer.spilled(), budget == 1000);
    SpillBuffer moved = std::move(buffer);
    const auto values = moved.values<uint64_t>();
    ASSERT_EQ(values.size(), 2'000'000U);
    for (uint64_t i = 0; i < values.size(); i += 4099) ASSERT_EQ(values[i], i * i);
  }
}

TEST(SpillBuffer, MayBeEmpty) {
  SpillBuffer buffer(0);
  buffer.finish();
  EXPECT_EQ(buffer.bytes(), "");
}

}  // namespace
}  // namespace quern
