#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "quern/base/random.h"
#include "quern/base/text_encoding.h"

namespace quern::features {

/// Text that mixes whatever patterns and merges trip over: contractions, runs of spaces, line ends,
/// scripts, digits, marks, rare planes; with `malformed` stray bytes too.
inline std::string awkward_text(Random& random, size_t pieces, bool malformed) {
  static constexpr std::string_view kPieces[] = {"the",
                                                 " of",
                                                 "Don't",
                                                 "'s",
                                                 "'S",
                                                 "'ll",
                                                 "'RE",
                                                 "'\u017F",
                                                 "''",
                                                 " '",
                                                 " ",
                                                 "  ",
                                                 "\t",
                                                 "\n",
                                                 "\r\n",
                                                 "\n\n",
                                                 "\u3000",
                                                 "\u00A0",
                                                 "\u2028",
                                                 "\u180E",
                                                 "\u0085",
                                                 "a",
                                                 "Z",
                                                 "0",
                                                 "12",
                                                 "1234567",
                                                 "\u0663",
                                                 "\u2167",
                                                 "\u00BD",
                                                 "!",
                                                 "...",
                                                 " (",
                                                 ")\n",
                                                 "\u2014",
                                                 "，",
                                                 "。\n",
                                                 "《",
                                                 "》",
                                                 "明月",
                                                 "几时有",
                                                 "把酒问青天",
                                                 "不知天上宫阙今夕是何年我欲乘风归去",
                                                 "二〇〇八年",
                                                 "々",
                                                 "\uFA0E",
                                                 "\U00020000",
                                                 "\U0002A6DF\U00030000",
                                                 "かな",
                                                 "カナ",
                                                 "한국어",
                                                 "éclair",
                                                 "e\u0301",
                                                 "\u0301",
                                                 "ß",
                                                 "Ω",
                                                 "я",
                                                 "\U0001F600",
                                                 "\U0001F468\u200D\U0001F469",
                                                 "<|endoftext|>",
                                                 "\u0000"};
  static constexpr std::string_view kBytes[] = {"\xE4", "\xE4\xB8", "\x80",        "\xF0\x9F",
                                                "\xFF", "\xC0",     "\xED\xA0\x80"};
  std::string text;
  for (size_t i = 0; i < pieces; ++i) {
    const uint64_t kind = random.below(malformed ? 12 : 11);
    if (kind == 11) {
      text += kBytes[random.below(std::size(kBytes))];
    } else if (kind == 10) {
      char32_t c = static_cast<char32_t>(random.below(random.below(2) ? 0x3000 : 0x32000));
      if (c >= 0xD800 && c < 0xE000) c = 'x';
      append_utf8(text, c);
    } else {
      text += kPieces[random.below(std::size(kPieces))];
    }
  }
  return text;
}

}  // namespace quern::features
