#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace quern::features {

/// Hashed words and runs of up to `orders` words, as rows of a table of `buckets` rows, in order of
/// appearance, at most `most` of them (Joulin et al. 2017, "Bag of Tricks for Efficient Text
/// Classification"). A word is a run of letters and digits, ASCII in lower case; a Chinese
/// character or a mark is a word of its own.
std::vector<int32_t> word_ngrams(std::string_view text, int64_t orders, int64_t buckets,
                                 size_t most);

/// The same with the bytes of the text that each came from.
struct LocatedNgram {
  int32_t row = 0;
  size_t begin = 0, end = 0;
};
std::vector<LocatedNgram> located_word_ngrams(std::string_view text, int64_t orders,
                                              int64_t buckets, size_t most);

/// Hashed runs of `shortest` to `longest` letters within a word that "<" and ">" stand around, of
/// words of letters and digits alone (Bojanowski et al. 2017, "Enriching Word Vectors with Subword
/// Information").
std::vector<int32_t> letter_ngrams(std::string_view text, size_t shortest, size_t longest,
                                   int64_t buckets, size_t most);

}  // namespace quern::features
