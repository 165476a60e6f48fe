#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace quern::features {

/// What the pre-tokenisation patterns ask of a character.
enum CharClass : uint8_t {
  kLetterClass = 1,   ///< \p{L}
  kNumberClass = 2,   ///< \p{N}
  kSpaceClass = 4,    ///< \s, the property White_Space
  kNewlineClass = 8,  ///< \r or \n (also kSpaceClass)
  kHanClass = 16,     ///< a Chinese character, see is_han
};

/// The ranges of Han characters in the "chinese" pattern. Written out, not \p{Han}, so that every
/// regex engine agrees whatever its Unicode version.
constexpr bool is_han(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || c == 0x3005 ||
         c == 0x3007 || (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x20000 && c <= 0x3FFFD);
}

/// The classes of every code point, from utf8proc, in two levels (about 40 KB).
class UnicodeClasses {
 public:
  static const UnicodeClasses& get();
  uint8_t operator[](char32_t c) const {
    return blocks_[size_t{index_[c >> kBlockBits]} << kBlockBits | (c & (kBlock - 1))];
  }
  /// The classes of the first 128 code points: block 0 is the first one stored.
  const uint8_t* ascii() const { return blocks_.data(); }

 private:
  UnicodeClasses();
  static constexpr int kBlockBits = 7;
  static constexpr size_t kBlock = size_t{1} << kBlockBits;
  std::array<uint16_t, (0x110000 >> kBlockBits)> index_{};
  std::vector<uint8_t> blocks_;
};

/// One character at the front of [p, end), p < end.
struct Utf8Char {
  static constexpr char32_t kMalformed = 0xFFFFFFFF;
  char32_t value;  ///< or kMalformed
  uint32_t length;
};

/// As quern::decode_utf8 (malformed bytes come as maximal subparts), inline for the scanners.
inline Utf8Char read_utf8(const uint8_t* p, const uint8_t* end) {
  const uint8_t lead = *p;
  if (lead < 0x80) return {lead, 1};
  const auto left = static_cast<size_t>(end - p);
  const auto follows = [&](size_t i, uint8_t low = 0x80, uint8_t high = 0xBF) {
    return i < left && p[i] >= low && p[i] <= high;
  };
  if (lead >= 0xE0 && lead < 0xF0) {
    if (!follows(1, lead == 0xE0 ? 0xA0 : 0x80, lead == 0xED ? 0x9F : 0xBF)) {
      return {Utf8Char::kMalformed, 1};
    }
    if (!follows(2)) return {Utf8Char::kMalformed, 2};
    return {static_cast<char32_t>((lead & 15) << 12 | (p[1] & 63) << 6 | (p[2] & 63)), 3};
  }
  if (lead >= 0xC2 && lead < 0xE0) {
    if (!follows(1)) return {Utf8Char::kMalformed, 1};
    return {static_cast<char32_t>((lead & 31) << 6 | (p[1] & 63)), 2};
  }
  if (lead >= 0xF0 && lead < 0xF5) {
    if (!follows(1, lead == 0xF0 ? 0x90 : 0x80, lead == 0xF4 ? 0x8F : 0xBF)) {
      return {Utf8Char::kMalformed, 1};
    }
    if (!follows(2)) return {Utf8Char::kMalformed, 2};
    if (!follows(3)) return {Utf8Char::kMalformed, 3};
    return {static_cast<char32_t>((lead & 7) << 18 | (p[1] & 63) << 12 | (p[2] & 63) << 6 |
                                  (p[3] & 63)),
            4};
  }
  return {Utf8Char::kMalformed, 1};
}

}  // namespace quern::features
