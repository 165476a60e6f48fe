#include "quern/report/text_width.h"

#include <algorithm>
#include <array>

#include "quern/base/text_encoding.h"

namespace quern::report {
namespace {

struct Range {
  char32_t first, last;
};
/// East Asian wide characters, in blocks (Unicode 15, annex 11).
constexpr std::array kWide = {
    Range{0x1100, 0x115F},   Range{0x2E80, 0x303E},  Range{0x3041, 0xA4CF}, Range{0xAC00, 0xD7A3},
    Range{0xF900, 0xFAFF},   Range{0xFE30, 0xFE6F},  Range{0xFF00, 0xFF60}, Range{0xFFE0, 0xFFE6},
    Range{0x1F300, 0x1FAFF}, Range{0x20000, 0x3FFFD}};

size_t width_of(char32_t c) {
  return std::ranges::any_of(kWide, [c](Range r) { return c >= r.first && c <= r.last; }) ? 2 : 1;
}

}  // namespace

size_t display_width(std::string_view utf8) {
  size_t width = 0;
  while (!utf8.empty()) {
    const CodePoint point = decode_utf8(utf8);
    width += width_of(point.value);
    utf8.remove_prefix(point.length);
  }
  return width;
}

std::string fit_width(std::string_view utf8, size_t columns) {
  const bool cut = display_width(utf8) > columns;
  std::string out;
  size_t used = cut ? 1 : 0;
  while (!utf8.empty()) {
    const CodePoint point = decode_utf8(utf8);
    used += width_of(point.value);
    if (used > columns) break;
    const bool control = point.value < 0x20 || point.value == 0x7F;
    if (point.value == CodePoint::kInvalid) {
      out += "\xEF\xBF\xBD";
    } else if (control) {
      out += ' ';
    } else {
      out += utf8.substr(0, point.length);
    }
    utf8.remove_prefix(point.length);
  }
  return cut ? out + "…" : out;
}

}  // namespace quern::report
