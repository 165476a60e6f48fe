#include "quern/features/tokenizer_regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include "quern/base/error.h"

namespace quern::features {
namespace {

constexpr uint32_t kMatchLimit = 1'000'000;
constexpr uint32_t kHeapLimitKib = 64 * 1024;
constexpr std::string_view kSpaces =
    "\\x{9}-\\x{D}\\x{20}\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}"
    "\\x{205F}\\x{3000}";

/// PCRE2's \s has U+180E besides the White_Space characters, so \s is written out.
std::string with_unicode_spaces(std::string_view expression) {
  std::string out;
  bool in_class = false;
  for (size_t i = 0; i < expression.size(); ++i) {
    const char c = expression[i];
    if (c == '\\' && i + 1 < expression.size()) {
      const char next = expression[++i];
      if (next == 's') {
        out += in_class ? std::string(kSpaces) : fmt::format("[{}]", kSpaces);
      } else if (next == 'S' && !in_class) {
        out += fmt::format("[^{}]", kSpaces);
      } else {
        out += {c, next};
      }
      continue;
    }
    if (!in_class && c == '[') {
      in_class = true;
      out += c;
      // A bracket that comes first in a class is a member of it.
      if (i + 1 < expression.size() && expression[i + 1] == '^') out += expression[++i];
      if (i + 1 < expression.size() && expression[i + 1] == ']') out += expression[++i];
      continue;
    }
    if (in_class && c == ']') in_class = false;
    out += c;
  }
  return out;
}

}  // namespace

struct SplitRegex::Impl {
  std::string expression;
  pcre2_code* code = nullptr;
  pcre2_match_context* context = nullptr;
  ~Impl() {
    pcre2_code_free(code);
    pcre2_match_context_free(context);
  }
};

SplitRegex::SplitRegex(std::string_view expression, std::string_view where)
    : impl_(std::make_unique<Impl>()) {
  impl_->expression = expression;
  const std::string translated = with_unicode_spaces(expression);
  int code = 0;
  size_t offset = 0;
  impl_->code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | PCRE2_MATCH_INVALID_UTF,
                    &code, &offset, nullptr);
  if (!impl_->code) {
    PCRE2_UCHAR message[256] = {};
    pcre2_get_error_message(code, message, sizeof message);
    throw FormatError(
        fmt::format("{}: cannot use the split pattern \"{}\": {} at byte {} of \"{}\"", where,
                    expression, reinterpret_cast<const char*>(message), offset, translated));
  }
  pcre2_jit_compile(impl_->code, PCRE2_JIT_COMPLETE);
  impl_->context = pcre2_match_context_create(nullptr);
  pcre2_set_match_limit(impl_->context, kMatchLimit);
  pcre2_set_heap_limit(impl_->context, kHeapLimitKib);
}

SplitRegex::~SplitRegex() = default;
SplitRegex::SplitRegex(SplitRegex&&) noexcept = default;
SplitRegex& SplitRegex::operator=(SplitRegex&&) noexcept = default;

void SplitRegex::for_each(std::string_view text,
                          FunctionRef<void(size_t begin, size_t end)> match) const {
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(
      pcre2_match_data_create(1, nullptr), pcre2_match_data_free);
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  for (size_t start = 0; start < text.size();) {
    int found =
        pcre2_match(impl_->code, subject, text.size(), start, 0, data.get(), impl_->context);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) {
      found = pcre2_match(impl_->code, subject, text.size(), start, PCRE2_NO_JIT, data.get(),
                          impl_->context);
    }
    if (found == PCRE2_ERROR_NOMATCH) return;
    if (found < 0) {
      PCRE2_UCHAR message[256] = {};
      pcre2_get_error_message(found, message, sizeof message);
      throw Error("regex_limit",
                  fmt::format("the tokenizer's split pattern \"{}\" gave up at byte {}: {}",
                              impl_->expression, start, reinterpret_cast<const char*>(message)),
                  "the text is a long run that this pattern cannot cut; split it into lines");
    }
    const size_t* range = pcre2_get_ovector_pointer(data.get());
    if (range[1] > range[0]) {
      match(range[0], range[1]);
      start = range[1];
    } else {
      // An empty match: one byte on; the engine itself steps over the rest of a character.
      start = std::max(start, range[1]) + 1;
      while (start < text.size() && (text[start] & 0xC0) == 0x80) ++start;
    }
  }
}

}  // namespace quern::features
