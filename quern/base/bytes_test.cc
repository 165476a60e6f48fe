#include "quern/base/bytes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "quern/base/error.h"

namespace quern {
namespace {

TEST(ByteReader, ReadsLittleEndian) {
  const std::string bytes(
      "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"
      "\x00\x00\xC0\x3F\x00\x00\x00\x00\x00\x00\x04\xC0tail",
      31);
  ByteReader reader(bytes, "test");
  EXPECT_EQ(reader.u8(), 0x01);
  EXPECT_EQ(reader.u16(), 0x0302);
  EXPECT_EQ(reader.u32(), 0x07060504u);
  EXPECT_EQ(reader.u64(), 0x0F0E0D0C0B0A0908ull);
  EXPECT_EQ(reader.f32(), 1.5f);
  EXPECT_EQ(reader.f64(), -2.5);
  EXPECT_EQ(reader.offset(), 27u);
  reader.skip(1);
  EXPECT_EQ(reader.text(3), "ail");
  EXPECT_EQ(reader.remaining(), 0u);
  EXPECT_EQ(reader.bytes(0).size(), 0u);
}

TEST(ByteReader, NamesWhatAndWhereAtTheEnd) {
  ByteReader reader(std::string_view("abcdef"), "header of x.bin");
  reader.skip(3);
  try {
    reader.u32();
    FAIL();
  } catch (const FormatError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("header of x.bin"));
    EXPECT_THAT(error.what(), testing::HasSubstr("offset 3"));
  }
  EXPECT_EQ(reader.remaining(), 3u);
  EXPECT_THROW(reader.bytes(~uint64_t{0}), FormatError);
  EXPECT_EQ(reader.text(3), "def");
}

TEST(CheckedArithmetic, RefusesToWrap) {
  EXPECT_EQ(checked_multiply(1ull << 32, (1ull << 32) - 1, "size"), 0xFFFFFFFF00000000ull);
  EXPECT_THROW(checked_multiply(1ull << 32, 1ull << 32, "size"), FormatError);
  EXPECT_EQ(checked_add(~uint64_t{0} - 1, 1, "size"), ~uint64_t{0});
  EXPECT_THROW(checked_add(~uint64_t{0}, 1, "size"), FormatError);
}

}  // namespace
}  // namespace quern
