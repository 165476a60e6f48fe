#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quern/base/file.h"

namespace quern::formats {
struct TokenizerFile;
}

namespace quern::features {

/// The text that ends a document, as one special token.
inline constexpr std::string_view kEndOfText = "<|endoftext|>";

/// Text to token ids and back. Immutable once made, and safe to use from several threads at once.
///
/// Three kinds, each a Hugging Face tokenizer.json that the `tokenizers` package loads and encodes
/// to the same ids:
///  - "bpe": byte-level byte-pair encoding (Sennrich et al. 2016; Radford et al. 2019). Any byte
///    sequence round-trips.
///  - "char": one token a character; what the vocabulary lacks becomes byte tokens, an unknown
///    token, or an error, as the file says.
///  - "byte": id = byte. Any byte sequence round-trips.
class Tokenizer {
 public:
  /// Reads a tokenizer.json. Throws IoError, or FormatError naming the file and what it holds that
  /// is damaged or not supported (WordPiece, Unigram).
  static std::shared_ptr<const Tokenizer> load(const fs::path& tokenizer_json);
  static std::shared_ptr<const Tokenizer> from_json(std::string_view json,
                                                    std::string_view where = "tokenizer.json");
  static std::shared_ptr<const Tokenizer> from_file(formats::TokenizerFile file,
                                                    std::string_view where = "tokenizer.json");
  /// 256 bytes and the end of text: 257 tokens.
  static std::shared_ptr<const Tokenizer> byte_level();

  std::string to_json() const;
  void save(const fs::path& path) const;

  /// Appends the ids of `text` (UTF-8; malformed bytes are kept). Special tokens written in the
  /// text are plain text unless `allow_special`. Time is linear in the text, whatever it holds.
  /// Throws Error("unknown_character") for a char tokenizer without a fallback.
  void encode(std::string_view text, std::vector<uint32_t>& ids, bool allow_special = false) const;
  std::vector<uint32_t> encode(std::string_view text, bool allow_special = false) const;

  /// The bytes of the ids, one after another; special tokens as they are written, or left out.
  /// Throws Error("unknown_token") for an id outside the vocabulary.
  std::string decode(std::span<const uint32_t> ids, bool skip_special = false) const;
  /// What one token stands for, in bytes: possibly a part of a character.
  std::string_view token_bytes(uint32_t id) const;
  bool is_special(uint32_t id) const;

  /// Ids are in [0, vocabulary()).
  size_t vocabulary() const;
  std::optional<uint32_t> end_of_text() const;
  std::optional<uint32_t> find(std::string_view token_bytes) const;
  /// "bpe", "char" or "byte".
  std::string_view kind() const;
  /// Of everything that decides ids: equal fingerprints encode alike.
  uint64_t fingerprint() const;

  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

 private:
  Tokenizer();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// What stands between the documents of a stream of tokens.
struct Separator {
  std::optional<uint32_t> id;
  bool outside = false;  // also before the first document and behind the last one
};
/// The end of text, or for a tokenizer without it a line end where it has one.
Separator separator_of(const Tokenizer& tokenizer);

/// Turns tokens into text as they come, never ending inside a character: bytes of an unfinished
/// character wait for the next token. Malformed bytes come out as U+FFFD.
class StreamingDecoder {
 public:
  explicit StreamingDecoder(const Tokenizer& tokenizer, bool skip_special = false)
      : tokenizer_(tokenizer), skip_special_(skip_special) {}
  /// The complete characters that this token adds, possibly none.
  std::string push(uint32_t id);
  /// What is left at the end: an unfinished character as U+FFFD.
  std::string finish();

 private:
  const Tokenizer& tokenizer_;
  bool skip_special_;
  std::string pending_;
};

}  // namespace quern::features
