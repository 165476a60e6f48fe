#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace quern::formats {

/// A token that is cut out of the text before anything else (or after normalisation).
struct AddedToken {
  uint32_t id = 0;
  std::string content;
  bool special = true;
  bool single_word = false;
  bool lstrip = false;
  bool rstrip = false;
  bool normalized = false;
};

enum class Normalization { kNfc, kNfd, kNfkc, kNfkd };

/// What becomes of the text that a pattern matches: a piece of its own, dropped, joined to the
/// piece before or after, or one piece with the matches that touch it.
enum class SplitBehavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };

/// One step that cuts text into the pieces which merges stay within.
struct PreTokenizer {
  enum class Kind { kRegex, kLiteral, kDigits, kByteLevel };
  Kind kind = Kind::kByteLevel;
  std::string pattern;  ///< kRegex (Oniguruma syntax), kLiteral
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;
  bool individual_digits = false;  ///< kDigits
  bool add_prefix_space = false;   ///< kByteLevel
  bool use_regex = false;          ///< kByteLevel: GPT-2's pattern first
};

/// The pair of tokens that becomes one; its rank is its place in the list.
struct Merge {
  uint32_t left = 0;
  uint32_t right = 0;
  uint32_t result = 0;
};

/// A Hugging Face tokenizer.json with a BPE model, of the parts Quern understands. Tokens are in
/// the file's spelling (byte-level vocabularies use GPT-2's alphabet of 256 printable characters).
struct TokenizerFile {
  std::vector<AddedToken> added_tokens;
  std::vector<Normalization> normalizers;
  std::vector<PreTokenizer> pre_tokenizers;
  std::vector<std::string> vocabulary;  ///< by id; an id that no token has is the empty string
  std::vector<Merge> merges;            ///< by rank
  std::optional<uint32_t> unknown;
  bool fuse_unknown = false;
  bool byte_fallback = false;
  bool ignore_merges = false;
  /// JSON that does not change ids, kept for writing back: "null" where absent.
  std::string truncation = "null";
  std::string padding = "null";
  std::string post_processor = "null";
  std::string decoder = "null";
};

/// Throws FormatError naming `where`, the part and what is wrong: damaged JSON, ids that clash or
/// are far beyond the number of tokens, merges of tokens that are not there, and whatever would
/// change ids and is not supported (WordPiece, Unigram, other normalizers).
TokenizerFile parse_tokenizer_json(std::string_view json, std::string_view where);

std::string write_tokenizer_json(const TokenizerFile& file);

}  // namespace quern::formats
