#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

#include "quern/features/tokenizer_unicode.h"

namespace quern::features {

/// Patterns with a hand-written scanner. Each piece the scanner cuts is exactly what the regular
/// expression matches, and the pieces cover the whole text.
enum class KnownPattern {
  kGpt2,
  kLlama3,
  kQwen2,  ///< Llama 3's with digits one by one
  kHan,    ///< Llama 3's with runs of Han characters apart
};

/// The expression, in the syntax that Oniguruma (Hugging Face), Rust (tiktoken) and, for all but
/// kHan, PCRE2 share.
std::string_view regex_of(KnownPattern pattern);
/// The known pattern with this spelling, or another spelling with the same matches.
std::optional<KnownPattern> recognise_pattern(std::string_view regex);

inline uint64_t load_little_endian(const uint8_t* p) {
  uint64_t word;
  std::memcpy(&word, p, 8);
  if constexpr (std::endian::native == std::endian::big) word = __builtin_bswap64(word);
  return word;
}

/// At most so many Han characters are one piece: long runs without punctuation stay cheap to merge,
/// to cache and to count.
inline constexpr size_t kHanRun = 8;

/// Cuts text into pieces: `next(p, end)` is the end of the piece that starts at p < end. Malformed
/// bytes count as characters that are no letter, number or space.
template <KnownPattern pattern>
class Scanner {
 public:
  Scanner() : classes_(UnicodeClasses::get()), ascii_(classes_.ascii()) {}

  const uint8_t* next(const uint8_t* p, const uint8_t* end) const {
    if (*p == '\'') {
      if (const uint8_t* stop = contraction(p, end)) return stop;
    }
    if (pattern == KnownPattern::kHan && is_common_han(p, end)) return han_run(p + 3, end);
    const Char first = read(p, end);
    const uint8_t* after = p + first.length;
    const Char second = after < end ? read(after, end) : Char{0, 0};
    if constexpr (pattern == KnownPattern::kGpt2) {
      if (*p == ' ' && second.length && !(second.flags & kSpaceClass)) {
        return run_like(second.flags, after + second.length, end);
      }
      if (!(first.flags & kSpaceClass)) return run_like(first.flags, after, end);
      return spaces(p, end);
    } else {
      if (is_han(first.flags)) return han_run(after, end);
      if (is_letter(first.flags)) return letters(after, end);
      if (is_number(first.flags)) return numbers(after, end);
      if (!(first.flags & kNewlineClass) && is_letter(second.flags)) {
        return letters(after + second.length, end);
      }
      if (!(first.flags & kSpaceClass)) return others(after, end);
      if (*p == ' ' && second.length && is_other(second.flags)) {
        return others(after + second.length, end);
      }
      return spaces(p, end);
    }
  }

 private:
  struct Char {
    uint8_t flags;
    uint32_t length;  ///< 0: there is none
  };

  Char read(const uint8_t* p, const uint8_t* end) const {
    if (*p < 0x80) return {ascii_[*p], 1};
    const Utf8Char c = read_utf8(p, end);
    return {c.value == Utf8Char::kMalformed ? uint8_t{0} : classes_[c.value], c.length};
  }

  static bool is_han(uint8_t flags) { return pattern == KnownPattern::kHan && (flags & kHanClass); }
  static bool is_letter(uint8_t flags) { return (flags & kLetterClass) && !is_han(flags); }
  static bool is_number(uint8_t flags) { return (flags & kNumberClass) && !is_han(flags); }
  static bool is_other(uint8_t flags) {
    return !(flags & (kLetterClass | kNumberClass | kSpaceClass)) && !is_han(flags);
  }

  /// The end of 's 't 're 've 'm 'll 'd at p, or null. Without regard to case outside GPT-2's
  /// pattern, where s is also the long s (U+017F).
  static const uint8_t* contraction(const uint8_t* p, const uint8_t* end) {
    const auto left = static_cast<size_t>(end - p);
    constexpr bool fold = pattern != KnownPattern::kGpt2;
    const auto lower = [&](size_t i) {
      return fold && p[i] >= 'A' && p[i] <= 'Z' ? static_cast<uint8_t>(p[i] | 0x20) : p[i];
    };
    if (left < 2) return nullptr;
    const uint8_t a = lower(1);
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return p + 2;
    if (left < 3) return nullptr;
    if (fold && p[1] == 0xC5 && p[2] == 0xBF) return p + 3;
    const uint8_t b = lower(2);
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return p + 3;
    return nullptr;
  }

  template <typename Accept>
  const uint8_t* run(const uint8_t* p, const uint8_t* end, Accept accept) const {
    while (p < end) {
      const Char c = read(p, end);
      if (!accept(c.flags)) break;
      p += c.length;
    }
    return p;
  }

  const uint8_t* letters(const uint8_t* p, const uint8_t* end) const {
    p = ascii_letters(p, end);
    if (p == end || *p < 0x80) return p;
    return run(p, end, [](uint8_t flags) { return is_letter(flags); });
  }

  /// The end of the run of a-z and A-Z at p. Words differ in length from one to the next, so a loop
  /// over bytes would mispredict its end nearly every time; eight at once have no such branch.
  static const uint8_t* ascii_letters(const uint8_t* p, const uint8_t* end) {
    constexpr uint64_t kEach = 0x0101010101010101;
    while (end - p >= 8) {
      const uint64_t word = load_little_endian(p);
      const uint64_t lower = (word | 0x20 * kEach) & 0x7F * kEach;
      const uint64_t from_a = lower + (0x80 - 'a') * kEach;
      const uint64_t after_z = lower + (0x7F - 'z') * kEach;
      const uint64_t other = ~(from_a & ~after_z & ~word) & 0x80 * kEach;
      if (other) return p + std::countr_zero(other) / 8;
      p += 8;
    }
    while (p < end && static_cast<uint8_t>((*p | 0x20) - 'a') < 26) ++p;
    return p;
  }

  /// GPT-2's letters, numbers or others: whichever the first character was.
  const uint8_t* run_like(uint8_t first, const uint8_t* p, const uint8_t* end) const {
    constexpr uint8_t kKinds = kLetterClass | kNumberClass | kSpaceClass;
    const uint8_t kind = first & kKinds;
    if (kind == kLetterClass) return letters(p, end);
    return run(p, end, [&](uint8_t flags) { return (flags & kKinds) == kind; });
  }

  /// U+4E00 to U+9FFF, which is nearly all of any text.
  static bool is_common_han(const uint8_t* p, const uint8_t* end) {
    if (end - p < 3) return false;
    const uint32_t bytes = uint32_t{p[0]} << 16 | uint32_t{p[1]} << 8 | p[2];
    return (bytes & 0xC0C0) == 0x8080 && bytes >= 0xE4B880 && bytes <= 0xE9BFBF;
  }

  const uint8_t* han_run(const uint8_t* p, const uint8_t* end) const {
    for (size_t count = 1; count < kHanRun && p < end; ++count) {
      if (is_common_han(p, end)) {
        p += 3;
        continue;
      }
      const Char c = read(p, end);
      if (!is_han(c.flags)) break;
      p += c.length;
    }
    return p;
  }

  const uint8_t* numbers(const uint8_t* p, const uint8_t* end) const {
    constexpr int kMost = pattern == KnownPattern::kQwen2 ? 1 : 3;
    for (int count = 1; count < kMost && p < end; ++count) {
      const Char c = read(p, end);
      if (!is_number(c.flags)) break;
      p += c.length;
    }
    return p;
  }

  const uint8_t* others(const uint8_t* p, const uint8_t* end) const {
    p = run(p, end, [](uint8_t flags) { return is_other(flags); });
    while (p < end && (*p == '\r' || *p == '\n')) ++p;
    return p;
  }

  /// \s*[\r\n]+ (not GPT-2), else \s+(?!\S), else \s+.
  const uint8_t* spaces(const uint8_t* p, const uint8_t* end) const {
    const uint8_t* last = p;        // where the last space of the run starts
    const uint8_t* line = nullptr;  // after the last line end
    const uint8_t* q = p;
    while (q < end) {
      const Char c = read(q, end);
      if (!(c.flags & kSpaceClass)) break;
      last = q;
      q += c.length;
      if (c.flags & kNewlineClass) line = q;
    }
    if (pattern != KnownPattern::kGpt2 && line) return line;
    return q < end && last > p ? last : q;
  }

  const UnicodeClasses& classes_;
  const uint8_t* ascii_;
};

/// Calls visit(scanner) with the scanner of `pattern`.
template <typename Visit>
void with_scanner(KnownPattern pattern, Visit visit) {
  switch (pattern) {
    case KnownPattern::kGpt2:
      return visit(Scanner<KnownPattern::kGpt2>());
    case KnownPattern::kLlama3:
      return visit(Scanner<KnownPattern::kLlama3>());
    case KnownPattern::kQwen2:
      return visit(Scanner<KnownPattern::kQwen2>());
    case KnownPattern::kHan:
      return visit(Scanner<KnownPattern::kHan>());
  }
}

}  // namespace quern::features
