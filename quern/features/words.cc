#include "quern/features/words.h"

#include "quern/base/text_encoding.h"
#include "quern/features/word_boundary.h"

namespace quern::features {

std::vector<Word> group_words(const Tokenizer& tokenizer, std::span<const uint32_t> ids) {
  std::vector<Word> words;
  size_t at = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    const std::string_view bytes = tokenizer.token_bytes(ids[i]);
    const bool special = tokenizer.is_special(ids[i]);
    const bool joins = !words.empty() && !special && !words.back().special && [&] {
      const std::string& before = words.back().text;
      if (complete_utf8_prefix(before) < before.size()) return true;
      const bool blank = before.find_first_not_of(" \t") == std::string::npos;
      return blank || continues_word(before, bytes);
    }();
    if (!joins) words.push_back({"", i, i, at, at, special});
    Word& word = words.back();
    word.text += bytes;
    word.token_end = i + 1;
    if (!special) at += bytes.size();
    word.end = at;
  }
  return words;
}

}  // namespace quern::features
