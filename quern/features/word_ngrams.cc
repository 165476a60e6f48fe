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
  std::string text;  // ASCII in lower case
  size_t begin, end;
};

/// Runs of letters and digits; every other mark is a word of its own.
std::vector<Word> words(std::string_view text) {
  std::vector<Word> found;
  std::string word;
  size_t begin = 0;
  const auto flush = [&](size_t end) {
    if (!word.empty()) found.push_back({std::move(word), begin, end});
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
        found.push_back({std::string(text.substr(i, length)), i, i + length});
    }
    i += length;
  }
  flush(text.size());
  return found;
}

int32_t row_of(uint64_t hash, int64_t buckets) {
  return static_cast<int32_t>(hash % static_cast<uint64_t>(buckets));
}

}  // namespace

std::vector<LocatedNgram> located_word_ngrams(std::string_view text, int64_t orders,
                                              int64_t buckets, size_t most) {
  const std::vector<Word> found = words(text);
  std::vector<uint64_t> unigrams;
  unigrams.reserve(found.size());
  for (const Word& word : found) unigrams.push_back(hash64(word.text));
  std::vector<LocatedNgram> grams;
  for (size_t i = 0; i < found.size() && grams.size() < most; ++i) {
    uint64_t hash = 0;
    for (int64_t order = 0; order < orders && static_cast<size_t>(order) <= i; ++order) {
      const size_t first = i - static_cast<size_t>(order);
      hash = hash64({reinterpret_cast<const char*>(&unigrams[first]), sizeof(uint64_t)}, hash + 1);
      if (grams.size() < most)
        grams.push_back({row_of(hash, buckets), found[first].begin, found[i].end});
    }
  }
  return grams;
}

std::vector<int32_t> letter_ngrams(std::string_view text, size_t shortest, size_t longest,
                                   int64_t buckets, size_t most) {
  std::vector<int32_t> rows;
  for (const Word& word : words(text)) {
    if (!is_word_byte(word.text.front()) && utf8_length(word.text.front()) != 2) continue;
    const std::string whole = "<" + word.text + ">";
    std::vector<size_t> starts;
    for (size_t i = 0; i < whole.size(); i += utf8_length(whole[i])) starts.push_back(i);
    starts.push_back(whole.size());
    for (size_t first = 0; first + 1 < starts.size(); ++first) {
      for (size_t letters = shortest; letters <= longest && first + letters < starts.size();
           ++letters) {
        if (rows.size() >= most) return rows;
        const size_t begin = starts[first];
        const std::string_view gram =
            std::string_view(whole).substr(begin, starts[first + letters] - begin);
        rows.push_back(row_of(hash64(gram), buckets));
      }
    }
  }
  return rows;
}

std::vector<int32_t> word_ngrams(std::string_view text, int64_t orders, int64_t buckets,
                                 size_t most) {
  std::vector<int32_t> rows;
  for (const LocatedNgram& one : located_word_ngrams(text, orders, buckets, most))
    rows.push_back(one.row);
  return rows;
}

}  // namespace quern::features
