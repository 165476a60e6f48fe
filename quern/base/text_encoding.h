#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace quern {

/// One code point read from UTF-8 at the front of `text`: its value and length in bytes; a
/// malformed sequence gives kInvalid with the length of its maximal subpart (Unicode 15, 3.9, table
/// 3-8).
struct CodePoint {
  static constexpr char32_t kInvalid = 0xFFFFFFFF;
  char32_t value;
  uint32_t length;
};
CodePoint decode_utf8(std::string_view text);
void append_utf8(std::string& out, char32_t code_point);

/// Byte offset of the first malformed sequence, or nothing.
std::optional<size_t> find_invalid_utf8(std::string_view text);
size_t count_code_points(std::string_view valid_utf8);

/// The length of the prefix that ends on a character boundary: streaming output never splits one.
size_t complete_utf8_prefix(std::string_view text);

enum class TextEncoding { kUtf8, kUtf16Le, kUtf16Be, kGb18030, kBinary };
std::string_view name(TextEncoding encoding);

/// Byte-order mark first; then valid UTF-8; then UTF-16 by its zero bytes; then GB18030 where every
/// sequence is well-formed and most decoded characters are common Chinese; else binary. Looks at a
/// prefix (a few hundred KiB) only.
TextEncoding detect_encoding(std::string_view bytes);

/// Converts to UTF-8 without a byte-order mark. Throws FormatError with `where` and the byte offset
/// at the first malformed sequence (kBinary always does).
std::string to_utf8(std::string_view bytes, TextEncoding encoding, std::string_view where);

}  // namespace quern
