#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "quern/features/tokenizer.h"

namespace quern::features {

/// A word of a text as a model reads it: the word pieces [token_begin, token_end), which are the
/// bytes [begin, end) of what the tokens decode to. White space goes with the word it leads to.
struct Word {
  std::string text;
  size_t token_begin = 0, token_end = 0;
  size_t begin = 0, end = 0;
  bool special = false;  // a special token: no part of the text
};

/// Word pieces grouped to words. A piece that cuts a character is joined with the next, so a word
/// is whole characters where the text is; pieces of Chinese stay as they are.
std::vector<Word> group_words(const Tokenizer& tokenizer, std::span<const uint32_t> ids);

}  // namespace quern::features
