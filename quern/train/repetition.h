#pragma once

#include <string_view>

namespace quern::train {

/// How much a generated text repeats itself, in words (a character beyond ASCII's letters is a word
/// where it is written without blanks: Chinese, Japanese).
struct Repetition {
  /// Different pairs of neighbouring words over all of them (distinct-2, Li et al. 2016); 1 where
  /// nothing repeats, 0 for fewer than two words.
  double different_pairs = 0;
  double longest_repeat = 0;  // words of the longest run that stands twice
};
Repetition repetition_of(std::string_view text);

}  // namespace quern::train
