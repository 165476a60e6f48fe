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

/// Runs of letters and digits, ASCII in lower case; every other mark is a word of its own.
std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> found;
  std::string word;
  const auto flush = [&] {
    if (!word.empty()) found.push_back(std::move(word));
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
      if (static_cast<uint8_t>(c) > ' ') found.emplace_back(text.substr(i, length));
    }
    i += length;
  }
  flush();
  return found;
}

int32_t row_of(uint64_t hash, int64_t buckets) {
  return static_cast<int32_t>(hash % static_cast<uint64_t>(buckets));
}

}  // namespace

std::vector<int32_t> word_ngrams(std::string_view text, int64_t orders, int64_t buckets,
                                 size_t most) {
  std::vector<uint64_t> unigrams;
  for (const std::string& word : words(text)) unigrams.push_back(hash64(word));
  std::vector<int32_t> rows;
  for (size_t i = 0; i < unigrams.size() && rows.size() < most; ++i) {
    uint64_t hash = 0;
    for (int64_t order = 0; order < orders && static_cast<size_t>(order) <= i; ++order) {
      const uint64_t word = unigrams[i - static_cast<size_t>(order)];
      hash = hash64({reinterpret_cast<const char*>(&word), sizeof word}, hash + 1);
      if (rows.size() < most) rows.push_back(row_of(hash, buckets));
    }
  }
  return rows;
}

std::vector<int32_t> letter_ngrams(std::string_view text, size_t shortest, size_t longest,
                                   int64_t buckets, size_t most) {
  std::vector<int32_t> rows;
  for (const std::string& word : words(text)) {
    if (!is_word_byte(word.front()) && utf8_length(word.front()) != 2) continue;
    const std::string whole = "<" + word + ">";
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

}  // namespace quern::features
