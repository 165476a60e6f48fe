#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quern/features/tokenizer_words.h"
#include "quern/formats/tokenizer_json.h"

namespace quern::features {

struct LearnedMerges {
  std::vector<std::string>
      tokens;  ///< in bytes, by id: the 256 bytes in GPT-2's order, then merges
  std::vector<formats::Merge> merges;
};

/// Byte-pair encoding of counted words (Sennrich et al. 2016, algorithm 1): the most frequent pair
/// becomes a token until there are `tokens` or no pair is seen `min_count` times; ties go to the
/// smaller pair of ids. With `whole_characters` no token holds half of one character and something
/// of another; without, the merges are those of Hugging Face's BpeTrainer.
LearnedMerges learn_merges(std::span<const WordCounter::Word> words, size_t tokens,
                           uint64_t min_count, bool whole_characters);

}  // namespace quern::features
