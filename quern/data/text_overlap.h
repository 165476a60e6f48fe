#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace quern::data {

/// Lower case (ASCII), digits as 0, punctuation and runs of blanks as one blank: what two texts
/// have in common when only their dress differs.
std::string normalised(std::string_view text);

/// Hashes of the text's runs of five words (a Chinese character counts as a word; a shorter text is
/// one run), rising and each once. Empty for a text without words.
std::vector<uint64_t> shingles(std::string_view text);

/// |a ∩ b| / |a ∪ b| of two rising lists; 0 for two empty ones.
double jaccard(const std::vector<uint64_t>& a, const std::vector<uint64_t>& b);

/// A text that nearly repeats another one.
struct NearRepeat {
  size_t text = 0, other = 0;
  double similarity = 0;
};

/// Texts whose shingles are at least `least` alike (Jaccard) to those of an earlier text. MinHash
/// with 14 bands of 8 (Broder 1997; Leskovec et al., "Mining of Massive Datasets", 3.4): finds a
/// pair of similarity .8 with probability .92, .9 with more than .999. Of a text, one earlier one
/// is named. Copies count like any other text: whoever wants none leaves them out.
std::vector<NearRepeat> near_repeats(const std::vector<std::vector<uint64_t>>& of,
                                     double least = 0.8);

/// The same between two lists: texts of each that are so alike to one of the other.
struct NearAcross {
  std::vector<NearRepeat> first, second;  // `text` of the list, `other` of the other list
};
NearAcross near_across(const std::vector<std::vector<uint64_t>>& first,
                       const std::vector<std::vector<uint64_t>>& second, double least = 0.8);

}  // namespace quern::data
