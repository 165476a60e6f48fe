#include "quern/features/tokenizer_shape.h"

#include <algorithm>

#include "quern/features/tokenizer_unicode.h"

namespace quern::features {

TokenShape shape_of(std::string_view token) {
  if (token.empty()) return {};
  const auto* p = reinterpret_cast<const uint8_t*>(token.data());
  const uint8_t* end = p + token.size();
  const auto continues = [](uint8_t b) { return (b & 0xC0) == 0x80; };
  if (std::all_of(p, end, continues)) {
    return {token.size() <= 3 ? TokenShape::kContinuation : TokenShape::kNeither, token.size(), 0};
  }
  const uint8_t lead = *p;
  const size_t full = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead >= 0xC2 && lead < 0xF5 && token.size() < full && std::all_of(p + 1, end, continues)) {
    return {TokenShape::kPrefix, token.size(), full - token.size()};
  }
  while (p < end) {
    const Utf8Char c = read_utf8(p, end);
    if (c.value == Utf8Char::kMalformed) return {TokenShape::kNeither, token.size(), 0};
    p += c.length;
  }
  return {TokenShape::kWhole, token.size(), 0};
}

bool merges_within_character(const TokenShape& left, const TokenShape& right) {
  if (right.kind != TokenShape::kContinuation) return false;
  return (left.kind == TokenShape::kPrefix && right.length <= left.missing) ||
         (left.kind == TokenShape::kContinuation && left.length + right.length <= 3);
}

bool merges_whole_characters(const TokenShape& left, const TokenShape& right) {
  return left.kind == TokenShape::kWhole && right.kind == TokenShape::kWhole;
}

bool is_one_character(std::string_view token) {
  if (token.empty()) return false;
  const auto* p = reinterpret_cast<const uint8_t*>(token.data());
  const Utf8Char c = read_utf8(p, p + token.size());
  return c.value != Utf8Char::kMalformed && c.length == token.size();
}

}  // namespace quern::features
