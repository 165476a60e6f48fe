#include "quern/base/strings.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "quern/base/error.h"

namespace quern {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// Takes "12", "1.5" or ".5" from the front; nothing when there is none (signs and exponents are not
// numbers here).
std::optional<double> take_number(std::string_view& text) {
  size_t length = 0;
  size_t digits = 0;
  size_t points = 0;
  for (; length < text.size(); ++length) {
    if (is_digit(text[length])) {
      ++digits;
    } else if (text[length] == '.' && points == 0) {
      ++points;
    } else {
      break;
    }
  }
  if (digits == 0) return std::nullopt;
  double value = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + length, value, std::chars_format::fixed);
  if (error != std::errc() || end != text.data() + length) return std::nullopt;
  text.remove_prefix(length);
  return value;
}

}  // namespace

std::string lower_ascii(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before_last(b.size() + 1);
  std::vector<size_t> last(b.size() + 1);
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    std::swap(before_last, last);
    std::swap(last, row);
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] =
          std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before_last[j - 2] + 1);
      }
    }
  }
  return row[b.size()];
}

std::optional<std::string> nearest(std::string_view name, std::span<const std::string> candidates) {
  const std::string wanted = lower_ascii(name);
  std::optional<std::string> best;
  size_t best_distance = std::max<size_t>(1, name.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    const size_t distance = edit_distance(wanted, lower_ascii(candidate));
    // A distance as long as the word itself would call any short word near.
    if (distance < best_distance && distance < std::max(name.size(), candidate.size())) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

double parse_duration(std::string_view text) {
  const auto wrong = [&] {
    return UsageError("bad_duration", "'" + std::string(text) + "' is not a duration",
                      "write a number and a unit, as in 90s, 10m, 1.5h or 2h30m");
  };
  std::string_view rest = trim(text);
  if (rest.empty()) throw wrong();
  double seconds = 0;
  double last_unit = std::numeric_limits<double>::infinity();
  while (!rest.empty()) {
    const auto number = take_number(rest);
    if (!number || rest.empty()) throw wrong();
    double unit = 0;
    switch (rest.front()) {
      case 's':
        unit = 1;
        break;
      case 'm':
        unit = 60;
        break;
      case 'h':
        unit = 3600;
        break;
      case 'd':
        unit = 86400;
        break;
      default:
        throw wrong();
    }
    if (unit >= last_unit) throw wrong();
    last_unit = unit;
    seconds += *number * unit;
    rest.remove_prefix(1);
  }
  if (!std::isfinite(seconds)) throw wrong();
  return seconds;
}

uint64_t parse_bytes(std::string_view text) {
  const auto wrong = [&] {
    return UsageError("bad_size", "'" + std::string(text) + "' is not a size in bytes",
                      "write a number and a unit, as in 512MB, 16GB or 8GiB");
  };
  std::string_view rest = trim(text);
  const std::string_view digits = rest;
  const auto number = take_number(rest);
  if (!number) throw wrong();
  const std::string_view written = digits.substr(0, digits.size() - rest.size());
  std::string unit = lower_ascii(trim(rest));
  if (!unit.empty() && unit.back() == 'b') unit.pop_back();
  uint64_t scale = 1;
  if (!unit.empty()) {
    const size_t power = std::string_view("kmgt").find(unit.front());
    if (power == std::string_view::npos || (unit.size() == 2 && unit[1] != 'i') ||
        unit.size() > 2) {
      throw wrong();
    }
    const uint64_t base = unit.size() == 2 ? 1024 : 1000;
    for (size_t i = 0; i <= power; ++i) scale *= base;
  }
  if (written.find('.') == std::string_view::npos) {
    uint64_t whole = 0;
    const auto [end, error] =
        std::from_chars(written.data(), written.data() + written.size(), whole);
    if (error != std::errc() || whole > std::numeric_limits<uint64_t>::max() / scale) throw wrong();
    return whole * scale;
  }
  const double bytes = *number * static_cast<double>(scale);
  if (!(bytes < 0x1p63) || (scale == 1 && bytes != std::floor(bytes))) throw wrong();
  return static_cast<uint64_t>(std::llround(bytes));
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (;;) {
    const size_t at = text.find(separator);
    parts.emplace_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

std::vector<std::string> split_outside_quotes(std::string_view text, char separator) {
  std::vector<std::string> parts(1);
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == separator && !quoted) {
      parts.emplace_back();
      continue;
    }
    if (text[i] == '"') quoted = !quoted;
    parts.back() += text[i];
    if (quoted && text[i] == '\\' && i + 1 < text.size()) parts.back() += text[++i];
  }
  return parts;
}

std::string shell_word(std::string_view text) {
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("./_-+=:,@%").find(c) != std::string_view::npos;
  });
  if (plain) return std::string(text);
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + "'";
}

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k)
      bits = bits << 8 | (i + k < bytes.size() ? static_cast<uint8_t>(bytes[i + k]) : 0U);
    for (size_t k = 0; k < 4; ++k)
      out += i + k > bytes.size() ? '=' : kDigits[bits >> (18 - 6 * k) & 63];
  }
  return out;
}

std::string unquote(std::string_view text) {
  text = trim(text);
  if (text.size() < 2 || text.front() != '"' || text.back() != '"') return std::string(text);
  std::string out;
  for (size_t i = 1; i + 1 < text.size(); ++i) {
    if (text[i] == '\\' && i + 2 < text.size()) ++i;
    out += text[i];
  }
  return out;
}

}  // namespace quern
