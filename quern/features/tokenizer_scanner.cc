#include "quern/features/tokenizer_scanner.h"

#include <array>
#include <utility>

namespace quern::features {
namespace {

#define QUERN_CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)|"
#define QUERN_TAIL "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define QUERN_HAN                                                               \
  "\\x{3005}\\x{3007}\\x{3400}-\\x{4DBF}\\x{4E00}-\\x{9FFF}\\x{F900}-\\x{FAFF}" \
  "\\x{20000}-\\x{3FFFD}"

constexpr std::string_view kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3 = QUERN_CONTRACTIONS
    R"([^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)" QUERN_TAIL;
constexpr std::string_view kQwen2 =
    QUERN_CONTRACTIONS R"([^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)" QUERN_TAIL;
constexpr std::string_view kHan =
    QUERN_CONTRACTIONS "[" QUERN_HAN
                       "]{1,8}|"
                       "[^\\r\\n\\p{L}\\p{N}" QUERN_HAN "]?[\\p{L}&&[^" QUERN_HAN
                       "]]+|"
                       "[\\p{N}&&[^" QUERN_HAN
                       "]]{1,3}|"
                       " ?[^\\s\\p{L}\\p{N}" QUERN_HAN "]+[\\r\\n]*|" QUERN_TAIL;
static_assert(kHanRun == 8, "the expression above spells the limit");

/// GPT-4's (cl100k_base): possessive quantifiers and a shorter line-end rule, the same matches.
constexpr std::string_view kCl100k =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|)"
    R"(\s*[\r\n]|\s+(?!\S)|\s+)";

#undef QUERN_CONTRACTIONS
#undef QUERN_TAIL
#undef QUERN_HAN

}  // namespace

std::string_view regex_of(KnownPattern pattern) {
  switch (pattern) {
    case KnownPattern::kGpt2:
      return kGpt2;
    case KnownPattern::kLlama3:
      return kLlama3;
    case KnownPattern::kQwen2:
      return kQwen2;
    case KnownPattern::kHan:
      return kHan;
  }
  return {};
}

std::optional<KnownPattern> recognise_pattern(std::string_view regex) {
  constexpr std::array<std::pair<std::string_view, KnownPattern>, 5> kSpellings = {{
      {kGpt2, KnownPattern::kGpt2},
      {kLlama3, KnownPattern::kLlama3},
      {kQwen2, KnownPattern::kQwen2},
      {kHan, KnownPattern::kHan},
      {kCl100k, KnownPattern::kLlama3},
  }};
  for (const auto& [spelling, pattern] : kSpellings) {
    if (spelling == regex) return pattern;
  }
  return std::nullopt;
}

}  // namespace quern::features
