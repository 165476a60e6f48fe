#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "quern/features/tokenizer.h"

namespace quern::features {

enum class TokenizerKind { kBpe, kChar, kByte };
/// "bpe", "char", "byte"; throws UsageError naming the text.
TokenizerKind parse_tokenizer_kind(std::string_view name);

/// How text is cut into the pieces that merges stay within.
enum class SplitPattern {
  kGpt2,    ///< the pattern of GPT-2
  kLlama3,  ///< the pattern of Llama 3 (and of GPT-4)
  kHan,     ///< Llama 3's, with runs of Chinese characters a class of their own, of bounded length
};
/// "gpt2", "llama3", "chinese"; throws UsageError naming the text.
SplitPattern parse_split_pattern(std::string_view name);

/// What a char tokenizer does with a character that its training text did not have.
enum class CharFallback {
  kBytes,    ///< 256 byte tokens: every text round-trips
  kUnknown,  ///< one <|unk|> token
  kNone,     ///< encode throws: the vocabulary is the characters and nothing else
};

struct TokenizerTrainOptions {
  TokenizerKind kind = TokenizerKind::kBpe;
  /// Tokens in all, special ones included (bpe). Fewer come out when the text has no more pairs;
  /// at least 257.
  size_t vocabulary = 8192;
  SplitPattern pattern = SplitPattern::kHan;
  CharFallback char_fallback = CharFallback::kBytes;
  /// Adds <|endoftext|>. Without it a char tokenizer is exactly its characters.
  bool end_of_text = true;
  /// Tokens are parts of one character or whole characters, never a half of two (bpe).
  bool whole_characters = true;
  /// A pair seen less often is not merged.
  uint64_t min_count = 2;
  /// Above this many bytes of distinct words the rarest are forgotten, so that memory stays
  /// bounded (learning merges then takes about ten times as much).
  size_t word_memory = size_t{128} << 20;
};

/// Learns a tokenizer from documents given one after another; keeps counts, not texts. The result
/// depends on the documents alone.
class TokenizerTrainer {
 public:
  explicit TokenizerTrainer(TokenizerTrainOptions options);
  ~TokenizerTrainer();
  TokenizerTrainer(const TokenizerTrainer&) = delete;
  TokenizerTrainer& operator=(const TokenizerTrainer&) = delete;

  void feed(std::string_view document);
  /// Bytes fed so far, and distinct words kept.
  uint64_t bytes() const;
  size_t words() const;
  /// Throws Error("empty_corpus") when nothing was fed and the kind needs text.
  std::shared_ptr<const Tokenizer> finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quern::features
