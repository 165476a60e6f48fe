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

struct Word {
  uint64_t hash;
  size_t begin, end;
};

std::vector<Word> words(std::string_view text) {
  std::vector<Word> found;
  std::string word;
  size_t begin = 0;
  const auto flush = [&](size_t end) {
    if (!word.empty()) found.push_back({hash64(word), begin, end});
    word.clear();
  };
  for (size_t i = 0; i < text.size();) {
    const char c = text[i];
    const size_t length = std::min(utf8_length(c), text.size() - i);
    if (is_word_byte(c) || length == 2) {  // of two bytes: Latin with marks, Greek, Cyrillic
      if (word.empty()) begin = i;
      if (length == 2) {
        word.append(text.substr(i, length));
      } else {
        word += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
      }
    } else {
      flush(i);
      if (static_cast<uint8_t>(c) > ' ')
        found.push_back({hash64(text.substr(i, length)), i, i + length});
    }
    i += length;
  }
  flush(text.size());
  return found;
}

}  // namespace

std::vector<LocatedNgram> located_word_ngrams(std::string_view text, int64_t orders,
                                              int64_t buckets, size_t most) {
  const std::vector<Word> unigrams = words(text);
  std::vector<LocatedNgram> found;
  for (size_t i = 0; i < unigrams.size() && found.size() < most; ++i) {
    uint64_t hash = 0;
    for (int64_t order = 0; order < orders && static_cast<size_t>(order) <= i; ++order) {
      const Word& word = unigrams[i - static_cast<size_t>(order)];
      hash = hash64({reinterpret_cast<const char*>(&word.hash), sizeof word.hash}, hash + 1);
      if (found.size() < most) {
        found.push_back({static_cast<int32_t>(hash % static_cast<uint64_t>(buckets)), word.begin,
                         unigrams[i].end});
      }
    }
  }
  return found;
}

std::vector<int32_t> word_ngrams(std::string_view text, int64_t orders, int64_t buckets,
                                 size_t most) {
  std::vector<int32_t> rows;
  for (const LocatedNgram& one : located_word_ngrams(text, orders, buckets, most))
    rows.push_back(one.row);
  return rows;
}

}  // namespace quern::features
