#include "quern/base/text_encoding.h"

#include <iconv.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "quern/base/error.h"

namespace quern {
namespace {

constexpr size_t kDetectionPrefix = size_t{256} << 10;

uint8_t byte_at(std::string_view text, size_t i) { return static_cast<uint8_t>(text[i]); }

bool is_ascii_word(const char* at) {
  uint64_t word;
  std::memcpy(&word, at, 8);
  return (word & 0x8080808080808080ull) == 0;
}

std::string_view without_mark(std::string_view bytes, std::string_view mark) {
  return bytes.starts_with(mark) ? bytes.substr(mark.size()) : bytes;
}

constexpr std::string_view kMarkUtf8 = "\xEF\xBB\xBF";
constexpr std::string_view kMarkUtf16Le = "\xFF\xFE";
constexpr std::string_view kMarkUtf16Be = "\xFE\xFF";
constexpr std::string_view kMarkGb18030 = "\x84\x31\x95\x33";

[[noreturn]] void malformed(std::string_view where, size_t offset, TextEncoding encoding) {
  throw FormatError(std::string(where) + ": not valid " + std::string(name(encoding)) +
                        " at byte " + std::to_string(offset),
                    "convert the file to UTF-8, or remove what is not text");
}

// Tabs, line ends, form feeds and the escape of terminal colours are text; the rest is not.
bool is_control(char32_t c) {
  return (c < 0x20 && c != '\t' && c != '\n' && c != '\r' && c != '\f' && c != 0x1B) || c == 0x7F;
}

// One code point of UTF-16 from the front: kInvalid for a lone surrogate or a lone byte.
CodePoint decode_utf16(std::string_view bytes, bool big_endian) {
  const auto unit = [&](size_t i) -> char32_t {
    const char32_t first = byte_at(bytes, i);
    const char32_t second = byte_at(bytes, i + 1);
    return big_endian ? (first << 8) | second : (second << 8) | first;
  };
  if (bytes.size() < 2) return {CodePoint::kInvalid, static_cast<uint32_t>(bytes.size())};
  const char32_t high = unit(0);
  if (high < 0xD800 || high > 0xDFFF) return {high, 2};
  if (high > 0xDBFF || bytes.size() < 4) return {CodePoint::kInvalid, 2};
  const char32_t low = unit(2);
  if (low < 0xDC00 || low > 0xDFFF) return {CodePoint::kInvalid, 2};
  return {0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00), 4};
}

// UTF-16 without a mark shows by zero bytes on one side only (ASCII, line ends, spaces), and then
// decodes to text.
bool looks_like_utf16(std::string_view prefix, bool big_endian) {
  size_t zeros[2] = {0, 0};
  for (size_t i = 0; i < prefix.size(); ++i) {
    if (prefix[i] == 0) ++zeros[i % 2];
  }
  const size_t zero_high = zeros[big_endian ? 0 : 1];
  const size_t zero_low = zeros[big_endian ? 1 : 0];
  if (zero_high == 0 || zero_low * 8 > zero_high) return false;
  prefix.remove_suffix(prefix.size() % 2);
  while (!prefix.empty()) {
    const CodePoint point = decode_utf16(prefix, big_endian);
    // The prefix may end between two surrogates.
    if (point.value == CodePoint::kInvalid) return prefix.size() == 2;
    if (is_control(point.value)) return false;
    prefix.remove_prefix(point.length);
  }
  return true;
}

// The shape of one GB18030 sequence (GB 18030-2005): its length, 0 when malformed, or the bytes
// that are there when the text ends inside one.
size_t gb18030_length(std::string_view bytes) {
  const uint8_t first = byte_at(bytes, 0);
  if (first < 0x80) return 1;
  if (first == 0x80 || first == 0xFF) return 0;
  if (bytes.size() < 2) return 1;
  const uint8_t second = byte_at(bytes, 1);
  if (second >= 0x40 && second != 0x7F && second != 0xFF) return 2;
  if (second < 0x30 || second > 0x39) return 0;
  if (bytes.size() < 3) return 2;
  if (byte_at(bytes, 2) < 0x81 || byte_at(bytes, 2) > 0xFE) return 0;
  if (bytes.size() < 4) return 3;
  return byte_at(bytes, 3) >= 0x30 && byte_at(bytes, 3) <= 0x39 ? 4 : 0;
}

bool looks_like_gb18030(std::string_view prefix) {
  size_t wide = 0;
  size_t common = 0;
  while (!prefix.empty()) {
    const size_t length = gb18030_length(prefix);
    if (length == 0) return false;
    if (length == 1) {
      if (is_control(byte_at(prefix, 0))) return false;
    } else {
      ++wide;
      const uint8_t first = byte_at(prefix, 0);
      const bool gb2312 = length == 2 && byte_at(prefix, 1) >= 0xA1;
      // GB 2312 rows 1-3 are punctuation and full-width forms, rows 16-55 the 3,755 common
      // characters.
      if (gb2312 && ((first >= 0xA1 && first <= 0xA3) || (first >= 0xB0 && first <= 0xD7))) {
        ++common;
      }
    }
    prefix.remove_prefix(length);
  }
  return wide > 0 && common * 2 > wide;
}

std::string gb18030_to_utf8(std::string_view bytes, std::string_view where) {
  struct Converter {
    iconv_t handle = iconv_open("UTF-8", "GB18030");
    // POSIX's way to say that there is none. NOLINTNEXTLINE(performance-no-int-to-ptr)
    bool ok() const { return handle != reinterpret_cast<iconv_t>(-1); }
    ~Converter() {
      if (ok()) iconv_close(handle);
    }
  } converter;
  if (!converter.ok()) {
    throw IoError(std::string(where) + ": this system cannot convert GB18030",
                  "install the C library's conversion modules, or convert the file to UTF-8");
  }
  std::string out;
  std::array<char, 1 << 16> buffer;
  char* in = const_cast<char*>(bytes.data());  // POSIX's signature; the bytes are only read
  size_t left = bytes.size();
  while (left > 0) {
    char* to = buffer.data();
    size_t room = buffer.size();
    const size_t result = iconv(converter.handle, &in, &left, &to, &room);
    const int error = errno;
    out.append(buffer.data(), buffer.size() - room);
    if (result == static_cast<size_t>(-1) && error != E2BIG) {
      malformed(where, bytes.size() - left, TextEncoding::kGb18030);
    }
  }
  return out;
}

}  // namespace

CodePoint decode_utf8(std::string_view text) {
  if (text.empty()) return {CodePoint::kInvalid, 0};
  const uint8_t first = byte_at(text, 0);
  if (first < 0x80) return {first, 1};
  // The second byte's range excludes overlong forms, surrogates and values above U+10FFFF.
  uint8_t low = 0x80;
  uint8_t high = 0xBF;
  uint32_t length;
  char32_t value;
  if (first >= 0xC2 && first <= 0xDF) {
    length = 2;
    value = first & 0x1F;
  } else if (first >= 0xE0 && first <= 0xEF) {
    length = 3;
    value = first & 0x0F;
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
  } else if (first >= 0xF0 && first <= 0xF4) {
    length = 4;
    value = first & 0x07;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
  } else {
    return {CodePoint::kInvalid, 1};
  }
  for (uint32_t i = 1; i < length; ++i) {
    if (i >= text.size() || byte_at(text, i) < low || byte_at(text, i) > high) {
      return {CodePoint::kInvalid, i};
    }
    value = (value << 6) | (byte_at(text, i) & 0x3Fu);
    low = 0x80;
    high = 0xBF;
  }
  return {value, length};
}

void append_utf8(std::string& out, char32_t c) {
  const auto tail = [&](int shift) { out += static_cast<char>(0x80 | ((c >> shift) & 0x3F)); };
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | (c >> 6));
    tail(0);
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | (c >> 12));
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xF0 | ((c >> 18) & 0x07));
    tail(12);
    tail(6);
    tail(0);
  }
}

std::optional<size_t> find_invalid_utf8(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    if (text.size() - at >= 8 && is_ascii_word(text.data() + at)) {
      at += 8;
      continue;
    }
    const CodePoint point = decode_utf8(text.substr(at));
    if (point.value == CodePoint::kInvalid) return at;
    at += point.length;
  }
  return std::nullopt;
}

size_t count_code_points(std::string_view valid_utf8) {
  return static_cast<size_t>(std::count_if(valid_utf8.begin(), valid_utf8.end(), [](char c) {
    return (static_cast<uint8_t>(c) & 0xC0) != 0x80;
  }));
}

size_t complete_utf8_prefix(std::string_view text) {
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back) {
    const size_t start = text.size() - back;
    const uint8_t first = byte_at(text, start);
    if ((first & 0xC0) == 0x80) continue;
    // Held back only where more bytes could complete it: the whole tail is one maximal subpart.
    const uint32_t wanted = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC2 ? 2 : 1;
    const CodePoint point = decode_utf8(text.substr(start));
    const bool open = point.value == CodePoint::kInvalid && first <= 0xF4 && back < wanted &&
                      point.length == back;
    return open ? start : text.size();
  }
  return text.size();
}

std::string_view name(TextEncoding encoding) {
  switch (encoding) {
    case TextEncoding::kUtf8:
      return "UTF-8";
    case TextEncoding::kUtf16Le:
      return "UTF-16LE";
    case TextEncoding::kUtf16Be:
      return "UTF-16BE";
    case TextEncoding::kGb18030:
      return "GB18030";
    case TextEncoding::kBinary:
      break;
  }
  return "text";
}

TextEncoding detect_encoding(std::string_view bytes) {
  if (bytes.starts_with(std::string_view("\xFF\xFE\0\0", 4)))
    return TextEncoding::kBinary;  // UTF-32
  if (bytes.starts_with(kMarkUtf8)) return TextEncoding::kUtf8;
  if (bytes.starts_with(kMarkUtf16Le)) return TextEncoding::kUtf16Le;
  if (bytes.starts_with(kMarkUtf16Be)) return TextEncoding::kUtf16Be;
  if (bytes.starts_with(kMarkGb18030)) return TextEncoding::kGb18030;
  const bool cut = bytes.size() > kDetectionPrefix;
  std::string_view prefix = bytes.substr(0, kDetectionPrefix);
  const std::string_view whole = cut ? prefix.substr(0, complete_utf8_prefix(prefix)) : prefix;
  if (const auto zeros = std::count(prefix.begin(), prefix.end(), '\0'); zeros > 0) {
    // UTF-16 has zero bytes in every blank, digit and line end; whoever reads names a stray one.
    constexpr size_t kStray = 64;
    if (static_cast<size_t>(zeros) * kStray < prefix.size() && !find_invalid_utf8(whole))
      return TextEncoding::kUtf8;
    if (!cut && prefix.size() % 2 != 0) return TextEncoding::kBinary;
    if (looks_like_utf16(prefix, false)) return TextEncoding::kUtf16Le;
    if (looks_like_utf16(prefix, true)) return TextEncoding::kUtf16Be;
    return TextEncoding::kBinary;
  }
  if (!find_invalid_utf8(whole)) {
    const auto controls = std::count_if(whole.begin(), whole.end(),
                                        [](char c) { return is_control(static_cast<uint8_t>(c)); });
    // A stray control character is dirt in a text; one in ten is another kind of file.
    return static_cast<size_t>(controls) * 10 > whole.size() ? TextEncoding::kBinary
                                                             : TextEncoding::kUtf8;
  }
  return looks_like_gb18030(prefix) ? TextEncoding::kGb18030 : TextEncoding::kBinary;
}

std::string to_utf8(std::string_view bytes, TextEncoding encoding, std::string_view where) {
  switch (encoding) {
    case TextEncoding::kUtf8: {
      const std::string_view text = without_mark(bytes, kMarkUtf8);
      if (const auto bad = find_invalid_utf8(text)) {
        malformed(where, *bad + (bytes.size() - text.size()), encoding);
      }
      return std::string(text);
    }
    case TextEncoding::kUtf16Le:
    case TextEncoding::kUtf16Be: {
      const bool big_endian = encoding == TextEncoding::kUtf16Be;
      std::string_view rest = without_mark(bytes, big_endian ? kMarkUtf16Be : kMarkUtf16Le);
      std::string out;
      out.reserve(rest.size());
      while (!rest.empty()) {
        const CodePoint point = decode_utf16(rest, big_endian);
        if (point.value == CodePoint::kInvalid) {
          malformed(where, bytes.size() - rest.size(), encoding);
        }
        append_utf8(out, point.value);
        rest.remove_prefix(point.length);
      }
      return out;
    }
    case TextEncoding::kGb18030: {
      std::string out = gb18030_to_utf8(bytes, where);
      if (out.starts_with(kMarkUtf8)) out.erase(0, kMarkUtf8.size());
      return out;
    }
    case TextEncoding::kBinary:
      break;
  }
  throw FormatError(std::string(where) +
                        ": not a text file (neither UTF-8, UTF-16 nor GB18030), from byte " +
                        std::to_string(find_invalid_utf8(bytes).value_or(0)),
                    "convert the file to UTF-8, or name another one");
}

}  // namespace quern
