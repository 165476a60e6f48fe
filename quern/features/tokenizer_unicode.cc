#include "quern/features/tokenizer_unicode.h"

#include <utf8proc.h>

#include <map>

namespace quern::features {
namespace {

bool is_white_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

uint8_t classify(char32_t c) {
  uint8_t flags = 0;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      flags = kLetterClass;
      break;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      flags = kNumberClass;
      break;
    default:
      break;
  }
  if (is_white_space(c)) flags |= kSpaceClass;
  if (c == '\r' || c == '\n') flags |= kNewlineClass;
  if (is_han(c)) flags |= kHanClass;
  return flags;
}

}  // namespace

UnicodeClasses::UnicodeClasses() {
  std::map<std::array<uint8_t, kBlock>, uint16_t> seen;
  std::array<uint8_t, kBlock> block{};
  for (size_t b = 0; b < index_.size(); ++b) {
    const auto first = static_cast<char32_t>(b << kBlockBits);
    // Planes 4 to 13, 15 and 16 have neither letters nor numbers.
    const bool assigned = first < 0x40000 || (first >= 0xE0000 && first < 0xF0000);
    for (size_t i = 0; i < kBlock; ++i) {
      block[i] = assigned ? classify(first + static_cast<char32_t>(i)) : uint8_t{0};
    }
    const auto [it, fresh] = seen.emplace(block, static_cast<uint16_t>(seen.size()));
    if (fresh) blocks_.insert(blocks_.end(), block.begin(), block.end());
    index_[b] = it->second;
  }
}

const UnicodeClasses& UnicodeClasses::get() {
  static const UnicodeClasses classes;
  return classes;
}

}  // namespace quern::features
