#include "quern/features/tokenizer_added.h"

#include <utf8proc.h>

#include <algorithm>
#include <numeric>

#include "quern/features/tokenizer_unicode.h"

namespace quern::features {
namespace {

Utf8Char first_char(std::string_view text) {
  const auto* p = reinterpret_cast<const uint8_t*>(text.data());
  return read_utf8(p, p + text.size());
}

Utf8Char last_char(std::string_view text) {
  size_t start = text.size() - 1;
  while (start > 0 && text.size() - start < 4 && (text[start] & 0xC0) == 0x80) --start;
  const Utf8Char c = first_char(text.substr(start));
  if (c.length != text.size() - start) return {Utf8Char::kMalformed, 1};
  return c;
}

/// \w: letters, marks, digits, letter numbers, connectors, joiners.
bool is_word(char32_t c) {
  if (c == Utf8Char::kMalformed) return false;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return c == 0x200C || c == 0x200D;
  }
}

bool is_space(char32_t c) {
  return c != Utf8Char::kMalformed && (UnicodeClasses::get()[c] & kSpaceClass);
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(std::span<const formats::AddedToken> tokens, bool normalized)
    : first_byte_(256) {
  for (const formats::AddedToken& token : tokens) {
    if (token.normalized == normalized && !token.content.empty()) tokens_.push_back(token);
  }
  std::vector<uint32_t> order(tokens_.size());
  std::iota(order.begin(), order.end(), 0U);
  std::sort(order.begin(), order.end(),
            [&](uint32_t a, uint32_t b) { return tokens_[a].content < tokens_[b].content; });
  for (const formats::AddedToken& token : tokens_) {
    first_byte_[static_cast<uint8_t>(token.content[0])] = true;
    all_special_ = all_special_ && token.special;
  }
  // A trie, breadth first so that the children of a node stand together.
  nodes_.emplace_back();
  struct Range {
    size_t begin, end, depth;
    uint32_t node;
  };
  std::vector<Range> ranges = {{0, order.size(), 0, 0}};
  for (size_t r = 0; r < ranges.size(); ++r) {
    Range range = ranges[r];
    while (range.begin < range.end && tokens_[order[range.begin]].content.size() == range.depth) {
      nodes_[range.node].token = static_cast<int32_t>(order[range.begin++]);
    }
    nodes_[range.node].first_child = static_cast<uint32_t>(edges_.size());
    while (range.begin < range.end) {
      const char byte = tokens_[order[range.begin]].content[range.depth];
      size_t end = range.begin;
      while (end < range.end && tokens_[order[end]].content[range.depth] == byte) ++end;
      const auto child = static_cast<uint32_t>(nodes_.size());
      nodes_.emplace_back();
      edges_.emplace_back(static_cast<uint8_t>(byte), child);
      ++nodes_[range.node].children;
      ranges.push_back({range.begin, end, range.depth + 1, child});
      range.begin = end;
    }
  }
}

AddedTokenMatcher::Match AddedTokenMatcher::longest(std::string_view text) const {
  Match best;
  uint32_t node = 0;
  for (size_t i = 0;; ++i) {
    if (nodes_[node].token >= 0) best = {nodes_[node].token, i};
    if (i == text.size()) return best;
    const auto first = edges_.begin() + nodes_[node].first_child;
    const auto last = first + nodes_[node].children;
    const auto byte = static_cast<uint8_t>(text[i]);
    const auto edge =
        std::lower_bound(first, last, byte, [](const auto& e, uint8_t b) { return e.first < b; });
    if (edge == last || edge->first != byte) return best;
    node = edge->second;
  }
}

void AddedTokenMatcher::split(std::string_view text, bool allow_special,
                              FunctionRef<void(std::string_view)> text_part,
                              FunctionRef<void(uint32_t)> token_part) const {
  size_t done = 0;
  const bool none = tokens_.empty() || (all_special_ && !allow_special);
  for (size_t i = none ? text.size() : 0; i < text.size();) {
    const Match match =
        first_byte_[static_cast<uint8_t>(text[i])] ? longest(text.substr(i)) : Match();
    if (match.token < 0) {
      ++i;
      continue;
    }
    size_t start = i;
    size_t stop = i + match.length;
    i = stop;
    const formats::AddedToken& token = tokens_[static_cast<size_t>(match.token)];
    if (token.special && !allow_special) continue;
    if (token.single_word &&
        ((start > 0 && is_word(last_char(text.substr(0, start)).value)) ||
         (stop < text.size() && is_word(first_char(text.substr(stop)).value)))) {
      continue;
    }
    while (token.lstrip && start > done) {
      const Utf8Char c = last_char(text.substr(done, start - done));
      if (!is_space(c.value)) break;
      start -= c.length;
    }
    while (token.rstrip && stop < text.size()) {
      const Utf8Char c = first_char(text.substr(stop));
      if (!is_space(c.value)) break;
      stop += c.length;
    }
    if (start < done) continue;
    if (start > done) text_part(text.substr(done, start - done));
    token_part(token.id);
    done = stop;
    i = std::max(i, stop);
  }
  if (done < text.size()) text_part(text.substr(done));
}

}  // namespace quern::features
