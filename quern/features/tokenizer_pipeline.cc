#include "quern/features/tokenizer_pipeline.h"

#include <utf8proc.h>

#include <cstdlib>
#include <memory>

#include "quern/base/error.h"

namespace quern::features {
namespace {

using formats::Normalization;
using formats::PreTokenizer;
using formats::SplitBehavior;

const uint8_t* bytes_of(std::string_view text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}

/// Characters that every form leaves as they are, whatever stands beside them.
bool is_inert(char32_t c) {
  return c < 0xA0 || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x4E00 && c <= 0x9FFF) ||
         (c >= 0x3001 && c <= 0x3020) || (c >= 0x2018 && c <= 0x201D);
}

std::string normalise_valid(Normalization form, std::string_view text) {
  int options = UTF8PROC_STABLE;
  const bool compose = form == Normalization::kNfc || form == Normalization::kNfkc;
  options |= compose ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
  if (form == Normalization::kNfkc || form == Normalization::kNfkd) options |= UTF8PROC_COMPAT;
  utf8proc_uint8_t* out = nullptr;
  const utf8proc_ssize_t length =
      utf8proc_map(bytes_of(text), static_cast<utf8proc_ssize_t>(text.size()), &out,
                   static_cast<utf8proc_option_t>(options));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(out, std::free);
  if (length < 0) {
    throw Error("normalise", std::string("cannot normalise the text: ") + utf8proc_errmsg(length));
  }
  return {reinterpret_cast<const char*>(out), static_cast<size_t>(length)};
}

std::string normalise_one(Normalization form, std::string_view text) {
  const uint8_t* p = bytes_of(text);
  const uint8_t* end = p + text.size();
  std::string out;
  const uint8_t* from = p;  // the stretch of valid text since the last malformed byte
  bool inert = true;
  const auto flush = [&](const uint8_t* to) {
    const std::string_view part(reinterpret_cast<const char*>(from),
                                static_cast<size_t>(to - from));
    if (inert) {
      out += part;
    } else {
      out += normalise_valid(form, part);
    }
    inert = true;
  };
  while (p < end) {
    const Utf8Char c = read_utf8(p, end);
    if (c.value == Utf8Char::kMalformed) {
      flush(p);
      out.append(reinterpret_cast<const char*>(p), c.length);
      from = p + c.length;
    } else {
      inert = inert && is_inert(c.value);
    }
    p += c.length;
  }
  flush(end);
  return out;
}

}  // namespace

std::string normalise(std::span<const Normalization> forms, std::string_view text) {
  std::string out(text);
  for (const Normalization form : forms) out = normalise_one(form, out);
  return out;
}

SplitPipeline::SplitPipeline(std::span<const PreTokenizer> steps, std::string_view where) {
  for (const PreTokenizer& rule : steps) {
    Step step{rule, std::nullopt, std::nullopt};
    if (rule.kind == PreTokenizer::Kind::kRegex) {
      step.known = recognise_pattern(rule.pattern);
      if (!step.known) step.regex.emplace(rule.pattern, where);
    }
    steps_.push_back(std::move(step));
  }
  // A ByteLevel step that only spells bytes has nothing left to do here.
  if (!steps_.empty()) {
    const PreTokenizer& last = steps_.back().rule;
    if (last.kind == PreTokenizer::Kind::kByteLevel && !last.add_prefix_space) {
      if (!last.use_regex) {
        steps_.pop_back();
      } else if (steps_.size() == 1) {
        known_ = KnownPattern::kGpt2;
      }
    }
  }
  // A known pattern matches everything, so removing or merging differs from isolating; inverted,
  // nothing is left of it.
  if (steps_.size() == 1 && steps_[0].known && !steps_[0].rule.invert &&
      steps_[0].rule.behavior == SplitBehavior::kIsolated) {
    known_ = steps_[0].known;
  }
}

/// Matches and the gaps between them, covering the text.
std::vector<SplitPipeline::Part> SplitPipeline::parts(const Step& step,
                                                      std::string_view text) const {
  std::vector<Part> parts;
  size_t done = 0;
  const auto match = [&](size_t begin, size_t end) {
    if (begin > done) parts.push_back({done, begin, false});
    parts.push_back({begin, end, true});
    done = end;
  };
  const uint8_t* base = bytes_of(text);
  const uint8_t* end = base + text.size();
  if (step.known) {
    with_scanner(*step.known, [&](const auto& scanner) {
      for (const uint8_t* p = base; p < end;) {
        const uint8_t* q = scanner.next(p, end);
        match(static_cast<size_t>(p - base), static_cast<size_t>(q - base));
        p = q;
      }
    });
  } else if (step.regex) {
    step.regex->for_each(text, match);
  } else if (step.rule.kind == PreTokenizer::Kind::kLiteral) {
    const std::string& needle = step.rule.pattern;
    for (size_t at = 0; (at = text.find(needle, at)) != text.npos; at += needle.size()) {
      match(at, at + needle.size());
    }
  } else {
    const UnicodeClasses& classes = UnicodeClasses::get();
    for (const uint8_t* p = base; p < end;) {
      const Utf8Char c = read_utf8(p, end);
      const auto at = static_cast<size_t>(p - base);
      const bool digit = c.value != Utf8Char::kMalformed && (classes[c.value] & kNumberClass);
      if (digit) match(at, at + c.length);
      p += c.length;
    }
  }
  if (done < text.size()) parts.push_back({done, text.size(), false});
  return parts;
}

void SplitPipeline::apply(size_t index, std::string_view text,
                          FunctionRef<void(std::string_view)> piece) const {
  if (text.empty()) return;
  if (index == steps_.size()) return piece(text);
  const Step& step = steps_[index];
  if (step.rule.kind == PreTokenizer::Kind::kByteLevel) {
    std::string prefixed;
    if (step.rule.add_prefix_space && text[0] != ' ') {
      prefixed.append(" ").append(text);
      text = prefixed;
    }
    if (!step.rule.use_regex) return piece(text);
    const Scanner<KnownPattern::kGpt2> scanner;
    const uint8_t* end = bytes_of(text) + text.size();
    for (const uint8_t* p = bytes_of(text); p < end;) {
      const uint8_t* q = scanner.next(p, end);
      piece({reinterpret_cast<const char*>(p), static_cast<size_t>(q - p)});
      p = q;
    }
    return;
  }
  std::vector<Part> all = parts(step, text);
  SplitBehavior behavior = step.rule.behavior;
  if (step.rule.kind == PreTokenizer::Kind::kDigits) {
    behavior = step.rule.individual_digits ? SplitBehavior::kIsolated : SplitBehavior::kContiguous;
  }
  if (step.rule.invert) {
    for (Part& part : all) part.match = !part.match;
  }
  // Join what the behavior joins: `out` are the pieces, in place of `all`.
  std::vector<Part> out;
  const size_t count = all.size();
  for (size_t i = 0; i < count; ++i) {
    const Part& part = all[i];
    const bool after_gap = i > 0 && !all[i - 1].match;
    switch (behavior) {
      case SplitBehavior::kRemoved:
        if (!part.match) out.push_back(part);
        break;
      case SplitBehavior::kContiguous:
        if (i > 0 && all[i - 1].match == part.match) {
          out.back().end = part.end;
        } else {
          out.push_back(part);
        }
        break;
      case SplitBehavior::kMergedWithPrevious:
        if (part.match && after_gap) {
          out.back().end = part.end;
        } else {
          out.push_back(part);
        }
        break;
      case SplitBehavior::kMergedWithNext:
        // A match goes to the gap that follows it; of several matches in a row only the last.
        if (!part.match && i > 0 && all[i - 1].match) {
          out.back().end = part.end;
        } else {
          out.push_back(part);
        }
        break;
      case SplitBehavior::kIsolated:
        out.push_back(part);
        break;
    }
  }
  for (const Part& part : out) {
    apply(index + 1, text.substr(part.begin, part.end - part.begin), piece);
  }
}

}  // namespace quern::features
