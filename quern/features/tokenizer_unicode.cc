#include "quern/features/tokenizer_unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <string>
#include <unordered_map>
#include <utility>

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

/// Ranges of letters without a gap, which no later Unicode version can change; asking for each
/// character costs a millisecond.
bool all_letters(char32_t first, char32_t end) {
  constexpr std::pair<char32_t, char32_t> kRanges[] = {
      {0x3400, 0x4DC0}, {0x4E00, 0xA000}, {0xAC00, 0xD7A4}, {0x20000, 0x2A6D7}};
  return std::any_of(std::begin(kRanges), std::end(kRanges), [&](const auto& range) {
    return first >= range.first && end <= range.second;
  });
}

}  // namespace

UnicodeClasses::UnicodeClasses() {
  std::unordered_map<std::string, uint16_t> seen;
  std::string block(kBlock, '\0');
  for (size_t b = 0; b < index_.size(); ++b) {
    const auto first = static_cast<char32_t>(b << kBlockBits);
    const auto fill = [&](auto flags) {
      for (size_t i = 0; i < kBlock; ++i) {
        block[i] = static_cast<char>(flags(first + static_cast<char32_t>(i)));
      }
    };
    if (first >= 0x40000) {  // planes 4 to 16 have neither letters nor numbers
      fill([](char32_t) { return uint8_t{0}; });
    } else if (all_letters(first, first + kBlock)) {
      fill([](char32_t c) {
        return static_cast<uint8_t>(kLetterClass | (is_han(c) ? kHanClass : 0));
      });
    } else {
      fill(classify);
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
