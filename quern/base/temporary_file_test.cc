#include "quern/base/temporary_file.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "quern/base/error.h"

namespace quern {
namespace {

TEST(TemporaryFile, ALargeVectorLiesInOne) {
  using Bytes = std::vector<uint8_t, PageableAllocator<uint8_t>>;
  constexpr size_t kSize = PageableAllocator<uint8_t>::kInMemory + 4096;
  Bytes bytes;
  bytes.reserve(kSize);
  bytes.insert(bytes.end(), {1, 2, 3});
  bytes.resize(kSize);
  bytes.back() = 7;
  EXPECT_EQ(bytes[2], 3);
  EXPECT_EQ(bytes[kSize / 2], 0);
  EXPECT_EQ(bytes.back(), 7);
}

TEST(TemporaryFile, NoRoomIsAnError) { EXPECT_THROW(allocate_pageable(size_t{1} << 62), IoError); }

}  // namespace
}  // namespace quern
