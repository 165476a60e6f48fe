#include "quern/data/check/check_texts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "quern/base/text_encoding.h"
#include "quern/data/number.h"

namespace quern::data {
namespace {

enum Script : size_t { kLatin, kHan, kKana, kHangul, kCyrillic, kArabic, kDevanagari, kOther };
constexpr std::array<std::string_view, 8> kScripts = {"Latin",    "Han",    "Kana",       "Hangul",
                                                      "Cyrillic", "Arabic", "Devanagari", "other"};

/// The script of a letter by its block (Unicode 15); nothing for what is none.
std::optional<Script> script_of(char32_t c) {
  struct Range {
    char32_t first, last;
    Script script;
  };
  constexpr std::array<Range, 16> kRanges = {{{0x41, 0x5A, kLatin},
                                              {0x61, 0x7A, kLatin},
                                              {0xC0, 0x24F, kLatin},
                                              {0x370, 0x3FF, kOther},
                                              {0x400, 0x52F, kCyrillic},
                                              {0x531, 0x5F4, kOther},
                                              {0x600, 0x6FF, kArabic},
                                              {0x900, 0x97F, kDevanagari},
                                              {0x980, 0x10FF, kOther},
                                              {0x1E00, 0x1EFF, kLatin},
                                              {0x1F00, 0x1FFF, kOther},
                                              {0x3041, 0x30FF, kKana},
                                              {0x3400, 0x4DBF, kHan},
                                              {0x4E00, 0x9FFF, kHan},
                                              {0xAC00, 0xD7A3, kHangul},
                                              {0x20000, 0x3134F, kHan}}};
  for (const Range& range : kRanges)
    if (c >= range.first && c <= range.last) return range.script;
  return std::nullopt;
}

/// One kind of damage: rows that have it, and the first.
struct Damage {
  size_t rows = 0, example = 0;
  void take(bool there, size_t row) {
    if (there && rows++ == 0) example = row;
  }
};

struct TextFacts {
  std::vector<uint64_t> lengths;  // in characters, of texts that are there
  std::array<uint64_t, kScripts.size()> letters{};
  Damage lost, twice, control;

  void take(std::string_view text, size_t row) {
    bool lost_here = false, twice_here = false, control_here = false;
    uint64_t length = 0;
    char32_t before = 0;
    for (std::string_view rest = text; !rest.empty(); ++length) {
      const CodePoint point = decode_utf8(rest);
      rest.remove_prefix(point.length);
      const char32_t c = point.value;
      lost_here |= c == 0xFFFD || c == CodePoint::kInvalid;
      // UTF-8 read as Latin-1 or Windows-1252: "Ã©" for "é", "â€™" for "’".
      twice_here |= (before == 0xC3 && c >= 0x80 && c <= 0xBF) || (before == 0xE2 && c == 0x20AC);
      control_here |= c < 0x20 && c != '\t' && c != '\n' && c != '\r';
      if (const auto script = script_of(c)) ++letters.at(*script);
      before = c;
    }
    lengths.push_back(length);
    lost.take(lost_here, row);
    twice.take(twice_here, row);
    control.take(control_here, row);
  }

  /// "5,574 texts of 2 to 910 characters, half of them below 61; letters: Latin 100 %".
  std::string summary() {
    if (lengths.empty()) return "no texts";
    std::sort(lengths.begin(), lengths.end());
    uint64_t all = 0;
    for (const uint64_t count : letters) all += count;
    std::vector<std::string> shares;
    for (size_t i = 0; i < kScripts.size(); ++i) {
      if (all > 0 && letters.at(i) * 1000 >= all)
        shares.push_back(
            fmt::format("{} {:.1f} %", kScripts.at(i), 100 * share(letters.at(i), all)));
    }
    return fmt::format("{} texts of {} to {} characters, half of them up to {}{}{}", lengths.size(),
                       lengths.front(), lengths.back(), lengths[lengths.size() / 2],
                       shares.empty() ? "" : "; letters: ", fmt::join(shares, ", "));
  }
};

}  // namespace

void check_texts(Checking& checking, size_t column) {
  TextFacts facts;
  for (size_t row = 0; row < checking.check.rows; ++row) {
    const std::string_view cell = checking.table.cell(row, column);
    if (!is_missing(cell)) facts.take(cell, row);
  }
  CheckedColumn& checked = checking.check.columns[column];
  checked.frequencies = by_powers_of_two(facts.lengths);
  checked.measured = "characters";
  checked.summary = facts.summary();
  const auto report = [&](const char* kind, Severity severity, const Damage& damage,
                          const char* what) {
    if (damage.rows == 0) return;
    checking.found(
        kind, severity, checked.facts.name,
        fmt::format("{} texts {}, as {}", damage.rows, what, checking.table.where(damage.example)));
  };
  report("lost_characters", Severity::kWarning, facts.lost,
         "hold the mark of a character that could not be read (U+FFFD)");
  report("encoded_twice", Severity::kWarning, facts.twice,
         "look encoded twice (Ã© for é): convert them back from UTF-8 read as Latin-1");
  report("control_characters", Severity::kNote, facts.control, "hold control characters");
}

}  // namespace quern::data
