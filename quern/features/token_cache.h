#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "quern/base/file.h"
#include "quern/base/progress.h"
#include "quern/base/thread_pool.h"
#include "quern/data/text_corpus.h"
#include "quern/features/tokenizer.h"

namespace quern::features {

/// The tokens of one part of a corpus, in a mapped file: 16 bits each where the vocabulary allows,
/// else 32. Only the pages that are read are in memory.
///
/// The end of text stands before the first document, between documents and behind the last one, but
/// not where a document was cut by the split. A tokenizer without it separates documents by a line
/// end, where it has one.
class TokenPart {
 public:
  TokenPart() = default;

  uint64_t tokens() const { return tokens_; }
  uint64_t documents() const { return documents_; }
  /// Bytes of UTF-8 that the tokens stand for (separators count none).
  uint64_t bytes() const { return bytes_; }
  /// The same without the first token, which nothing predicts: what nats are divided by for bits
  /// per byte, when all tokens but the first are predicted.
  uint64_t predicted_bytes() const { return predicted_bytes_; }
  /// Copies out.size() tokens from `begin`; both within tokens().
  void read(uint64_t begin, std::span<uint32_t> out) const;

 private:
  friend class TokenCacheReader;
  MappedFile file_;
  uint32_t width_ = 2;  // bytes a token
  uint64_t tokens_ = 0, documents_ = 0, bytes_ = 0, predicted_bytes_ = 0;
};

struct TokenCache {
  std::array<TokenPart, data::kParts> parts;
  bool reused = false;  ///< found, not made
  const TokenPart& operator[](data::Part part) const { return parts[static_cast<size_t>(part)]; }
};

/// The tokens of a corpus, from `folder` when an earlier call left them there: files are named by a
/// hash of the text, its division, and what the tokenizer would do with it. Otherwise reads the
/// corpus once more, encodes on the pool, and writes each part atomically; memory stays below about
/// 64 MiB. A damaged file is made again (contents are checked up to 1 GiB a part, sizes and headers
/// always). Throws IoError (disk full), Error("interrupted") after a signal, and what the corpus
/// and the tokenizer throw.
TokenCache open_token_cache(const data::TextCorpus& corpus, const Tokenizer& tokenizer,
                            const fs::path& folder, ThreadPool& pool, Reporter& reporter);

/// $XDG_CACHE_HOME/quern, else ~/.cache/quern, else a folder in the system's temporary one.
fs::path default_cache_folder();

/// The default folder, or `otherwise` (with a note that says why) where no file can be made in it:
/// a home that is read-only or full of someone else's files is no reason not to train.
fs::path usable_cache_folder(const fs::path& otherwise, Reporter& reporter);

}  // namespace quern::features
