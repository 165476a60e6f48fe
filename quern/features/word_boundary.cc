#include "quern/features/word_boundary.h"

#include <utf8proc.h>

#include "quern/base/text_encoding.h"
#include "quern/features/tokenizer_unicode.h"

namespace quern::features {
namespace {

enum class Kind { kSpace, kWord, kApostrophe, kIdeograph, kOther };

Kind kind_of(char32_t c) {
  if (c == CodePoint::kInvalid) return Kind::kOther;
  if (c == U'\'' || c == U'’') return Kind::kApostrophe;
  const bool kana = c >= 0x3040 && c <= 0x30FF, hangul = c >= 0xAC00 && c <= 0xD7A3;
  if (is_han(c) || kana || hangul) return Kind::kIdeograph;
  const uint8_t classes = UnicodeClasses::get()[c];
  if (classes & kSpaceClass) return Kind::kSpace;
  if (classes & (kLetterClass | kNumberClass)) return Kind::kWord;
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  const bool mark = category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC ||
                    category == UTF8PROC_CATEGORY_ME;
  return mark ? Kind::kWord : Kind::kOther;
}

}  // namespace

WordSplit split_first_word(std::string_view text) {
  WordSplit split;
  split.only_space = true;
  while (!text.empty()) {
    const CodePoint point = decode_utf8(text);
    // The bytes of a character that the next token will finish: nothing can be said yet.
    if (point.value == CodePoint::kInvalid && complete_utf8_prefix(text) == 0) return split;
    const std::string_view bytes = text.substr(0, point.length);
    const Kind kind = kind_of(point.value);
    text.remove_prefix(point.length);
    if (split.word.empty()) {
      if (kind == Kind::kSpace) continue;
      split.only_space = false;
      if (kind == Kind::kIdeograph) {
        split.word = bytes;
        split.complete = true;
        return split;
      }
      if (kind != Kind::kWord) return split;
      split.word = bytes;
    } else if (kind == Kind::kWord) {
      split.word += bytes;
    } else if (kind == Kind::kApostrophe) {
      // Inner only when a letter follows; at the end of the text that is not known yet.
      if (text.empty()) return split;
      if (kind_of(decode_utf8(text).value) != Kind::kWord) {
        split.complete = true;
        return split;
      }
      split.word += bytes;
    } else {
      split.complete = true;
      return split;
    }
  }
  return split;
}

bool continues_word(std::string_view text, std::string_view next) {
  size_t begin = text.size();
  while (begin > 0 && (static_cast<uint8_t>(text[begin - 1]) & 0xC0) == 0x80) --begin;
  if (begin == 0 || next.empty()) return false;
  const auto joins = [](Kind kind) { return kind == Kind::kWord || kind == Kind::kApostrophe; };
  const CodePoint first = decode_utf8(next);
  return joins(kind_of(decode_utf8(text.substr(begin - 1)).value)) && joins(kind_of(first.value));
}

}  // namespace quern::features
