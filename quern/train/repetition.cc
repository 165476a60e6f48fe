#include "quern/train/repetition.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "quern/base/text_encoding.h"

namespace quern::train {
namespace {

std::vector<std::string_view> words_of(std::string_view text) {
  constexpr char32_t kFirstWithoutBlanks = 0x2E80;
  std::vector<std::string_view> words;
  size_t begin = 0, at = 0;
  const auto close = [&] {
    if (at > begin) words.push_back(text.substr(begin, at - begin));
  };
  while (at < text.size()) {
    const CodePoint point = decode_utf8(text.substr(at));
    const bool blank = point.value == ' ' || (point.value >= '\t' && point.value <= '\r');
    const bool alone = point.value != CodePoint::kInvalid && point.value >= kFirstWithoutBlanks;
    if (!blank && !alone) {
      at += point.length;
      continue;
    }
    close();
    if (alone) words.push_back(text.substr(at, point.length));
    at += point.length;
    begin = at;
  }
  close();
  return words;
}

}  // namespace

Repetition repetition_of(std::string_view text) {
  const std::vector<std::string_view> words = words_of(text);
  Repetition out;
  if (words.size() < 2) return out;
  std::set<std::pair<std::string_view, std::string_view>> pairs;
  for (size_t i = 1; i < words.size(); ++i) pairs.emplace(words[i - 1], words[i]);
  out.different_pairs = static_cast<double>(pairs.size()) / static_cast<double>(words.size() - 1);
  // longest[j]: words of the run that ends at i and at j < i alike.
  std::vector<size_t> longest(words.size() + 1);
  size_t most = 0;
  for (size_t i = 1; i < words.size(); ++i) {
    for (size_t j = i; j-- > 0;) {
      longest[j + 1] = words[i] == words[j] ? longest[j] + 1 : 0;
      most = std::max(most, longest[j + 1]);
    }
  }
  out.longest_repeat = static_cast<double>(most);
  return out;
}

}  // namespace quern::train
