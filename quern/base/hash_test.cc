#include "quern/base/hash.h"

#include <gtest/gtest.h>

#include <string>

namespace quern {
namespace {

TEST(Hash, KnownAnswers) {
  // From the xxhash sources' own checks (XXH3 of the empty input).
  EXPECT_EQ(hash64(""), 0x2D06800538D394C2ull);
  EXPECT_EQ(hash128_hex(""), "99aa06d3014798d86001c324468d497f");
  EXPECT_NE(hash64("a", 1), hash64("a", 2));
}

TEST(Hash, StreamEqualsWhole) {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += static_cast<char>(i * 31);
  Hasher hasher;
  for (size_t at = 0, step = 1; at < text.size(); at += step, step = step * 2 + 1) {
    hasher.update(std::string_view(text).substr(at, step));
  }
  hasher.update("");
  EXPECT_EQ(hasher.hex(), hash128_hex(text));
}

TEST(Crc32c, KnownAnswers) {
  EXPECT_EQ(crc32c(""), 0u);
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);
  // RFC 3720, B.4.
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(crc32c(std::string(32, '\xFF')), 0x62A8AB43u);
  std::string rising;
  for (char c = 0; c < 32; ++c) rising += c;
  EXPECT_EQ(crc32c(rising), 0x46DD794Eu);
  // The length field of the first record of an event file, masked.
  EXPECT_EQ(masked_crc32c(std::string("\x18\0\0\0\0\0\0\0", 8)), 0x224B7FA3u);
}

}  // namespace
}  // namespace quern
