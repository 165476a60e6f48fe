#include "quern/base/readable_text.h"

#include <fmt/format.h>

#include <cstdint>

#include "quern/base/text_encoding.h"

namespace quern {

std::string valid_utf8(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const CodePoint point = decode_utf8(text);
    if (point.value == CodePoint::kInvalid) {
      append_utf8(out, 0xFFFD);
    } else {
      out += text.substr(0, point.length);
    }
    text.remove_prefix(point.length);
  }
  return out;
}

std::string readable(std::string_view bytes) {
  if (find_invalid_utf8(bytes)) {
    std::string text;
    for (const char byte : bytes) text += fmt::format("<{:02X}>", static_cast<uint8_t>(byte));
    return text;
  }
  std::string text;
  for (const char c : bytes) {
    if (c == '\n') {
      text += "\\n";
    } else if (c == '\t') {
      text += "\\t";
    } else if (c == '\r') {
      text += "\\r";
    } else {
      text += c;
    }
  }
  return '"' + text + '"';
}

}  // namespace quern
