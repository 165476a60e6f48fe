#pragma once

#include <string>
#include <string_view>

namespace quern::features {

/// The first word of a text and whether it is known to end there: leading white space is left out;
/// a word is a run of letters, marks, digits and inner apostrophes; a Han character, kana or Hangul
/// syllable is a word by itself.
struct WordSplit {
  std::string word;
  bool complete = false;    // something follows that cannot belong to the word
  bool only_space = false;  // no word yet, and nothing but white space so far
};
WordSplit split_first_word(std::string_view text);

/// Whether `next` would go on with the word that `text` ends in: both meet in letters, marks,
/// digits or apostrophes.
bool continues_word(std::string_view text, std::string_view next);

}  // namespace quern::features
