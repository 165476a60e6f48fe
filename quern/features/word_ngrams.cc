#include "quern/features/word_ngrams.h"

#include <algorithm>
#include <string>

#include "quern/base/hash.h"

namespace quern::features {
namespace {

bool is_word_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

size_t utf8_length(char c) {
  const auto byte = static_cast<uint8_t>(c);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

/// Hashes of the words.
std::vector<uint64_t> words(std::string_view text) {
  std::vector<uint64_t> hashes;
  std::string word;
  const auto flush = [&] {
    if (!word.empty()) hashes.push_back(hash64(word));
    word.clear();
  };
  for (size_t i = 0; i < text.size();) {
    const char c = text[i];
    const size_t length = std::min(utf8_length(c), text.size() - i);
    if (is_word_byte(c)) {
      word += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    } else if (length == 2) {  // Latin with marks, Greek, Cyrillic: letters
      word.append(text.substr(i, length));
    } else {
      flush();
      if (static_cast<uint8_t>(c) > ' ') hashes.push_back(hash64(text.substr(i, length)));
    }
    i += length;
  }
  flush();
  return hashes;
}

}  // namespace

std::vector<int32_t> word_ngrams(std::string_view text, int64_t orders, int64_t buckets,
                                 size_t most) {
  const std::vector<uint64_t> unigrams = words(text);
  std::vector<int32_t> rows;
  for (size_t i = 0; i < unigrams.size() && rows.size() < most; ++i) {
    uint64_t hash = 0;
    for (int64_t order = 0; order < orders && static_cast<size_t>(order) <= i; ++order) {
      const uint64_t word = unigrams[i - static_cast<size_t>(order)];
      hash = hash64({reinterpret_cast<const char*>(&word), sizeof word}, hash + 1);
      if (rows.size() < most)
        rows.push_back(static_cast<int32_t>(hash % static_cast<uint64_t>(buckets)));
    }
  }
  return rows;
}

}  // namespace quern::features
