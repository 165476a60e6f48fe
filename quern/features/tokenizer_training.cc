#include "quern/features/tokenizer_training.h"

#include <fmt/format.h>

#include <array>
#include <set>
#include <utility>

#include "quern/base/error.h"
#include "quern/base/strings.h"
#include "quern/base/text_encoding.h"
#include "quern/features/tokenizer_alphabet.h"
#include "quern/features/tokenizer_learner.h"
#include "quern/features/tokenizer_scanner.h"
#include "quern/features/tokenizer_words.h"
#include "quern/formats/tokenizer_json.h"

namespace quern::features {
namespace {

using formats::TokenizerFile;

/// Longer pieces are learned from in parts: a merge costs time in proportion to the words it is in.
constexpr size_t kLongestWord = 256;

constexpr std::string_view kByteLevelDecoder =
    R"({"add_prefix_space":true,"trim_offsets":true,"type":"ByteLevel","use_regex":true})";

template <typename Value, size_t count>
Value parse_name(std::string_view name,
                 const std::array<std::pair<std::string_view, Value>, count>& names,
                 std::string_view what) {
  std::string list;
  for (const auto& [spelling, value] : names) {
    if (spelling == name) return value;
    list += (list.empty() ? "" : ", ") + std::string(spelling);
  }
  throw UsageError("unknown_option_value", fmt::format("unknown {} \"{}\"", what, name),
                   fmt::format("choose one of: {}", list));
}

KnownPattern known(SplitPattern pattern) {
  switch (pattern) {
    case SplitPattern::kGpt2:
      return KnownPattern::kGpt2;
    case SplitPattern::kLlama3:
      return KnownPattern::kLlama3;
    case SplitPattern::kHan:
      break;
  }
  return KnownPattern::kHan;
}

uint32_t add_special(TokenizerFile& file, std::string_view content) {
  const auto id = static_cast<uint32_t>(file.vocabulary.size());
  file.vocabulary.emplace_back(content);
  formats::AddedToken token;
  token.id = id;
  token.content = content;
  file.added_tokens.push_back(std::move(token));
  return id;
}

}  // namespace

TokenizerKind parse_tokenizer_kind(std::string_view name) {
  constexpr std::array<std::pair<std::string_view, TokenizerKind>, 3> kNames = {
      {{"bpe", TokenizerKind::kBpe},
       {"char", TokenizerKind::kChar},
       {"byte", TokenizerKind::kByte}}};
  return parse_name(name, kNames, "tokenizer kind");
}

SplitPattern parse_split_pattern(std::string_view name) {
  constexpr std::array<std::pair<std::string_view, SplitPattern>, 3> kNames = {
      {{"gpt2", SplitPattern::kGpt2},
       {"llama3", SplitPattern::kLlama3},
       {"chinese", SplitPattern::kHan}}};
  return parse_name(name, kNames, "split pattern");
}

struct TokenizerTrainer::Impl {
  explicit Impl(TokenizerTrainOptions given) : options(given), words(given.word_memory) {}

  TokenizerTrainOptions options;
  WordCounter words;
  std::set<char32_t> characters;
  std::vector<bool> seen = std::vector<bool>(0x110000);
  uint64_t bytes = 0;

  void count_words(std::string_view document);
  void collect_characters(std::string_view document);
  TokenizerFile learn_bpe() const;
  TokenizerFile list_characters() const;
};

void TokenizerTrainer::Impl::count_words(std::string_view document) {
  const auto* p = reinterpret_cast<const uint8_t*>(document.data());
  const uint8_t* end = p + document.size();
  with_scanner(known(options.pattern), [&](const auto& scanner) {
    while (p < end) {
      const uint8_t* q = scanner.next(p, end);
      std::string_view piece(reinterpret_cast<const char*>(p), static_cast<size_t>(q - p));
      while (piece.size() > kLongestWord) {
        const size_t cut = complete_utf8_prefix(piece.substr(0, kLongestWord));
        words.add(piece.substr(0, cut));
        piece.remove_prefix(cut);
      }
      words.add(piece);
      p = q;
    }
  });
}

void TokenizerTrainer::Impl::collect_characters(std::string_view document) {
  while (!document.empty()) {
    const CodePoint c = decode_utf8(document);
    if (c.value != CodePoint::kInvalid && !seen[c.value]) {
      seen[c.value] = true;
      characters.insert(c.value);
    }
    document.remove_prefix(c.length);
  }
}

TokenizerFile TokenizerTrainer::Impl::learn_bpe() const {
  const std::vector<WordCounter::Word> counted = words.words();
  LearnedMerges learned = learn_merges(counted, options.vocabulary - (options.end_of_text ? 1 : 0),
                                       options.min_count, options.whole_characters);
  TokenizerFile file;
  for (const std::string& token : learned.tokens) {
    file.vocabulary.push_back(ByteAlphabet::get().spell(token));
  }
  file.merges = std::move(learned.merges);
  formats::PreTokenizer byte_level;
  if (options.pattern == SplitPattern::kGpt2) {
    byte_level.use_regex = true;
  } else {
    formats::PreTokenizer split;
    split.kind = formats::PreTokenizer::Kind::kRegex;
    split.pattern = regex_of(known(options.pattern));
    file.pre_tokenizers.push_back(std::move(split));
  }
  file.pre_tokenizers.push_back(std::move(byte_level));
  file.decoder = kByteLevelDecoder;
  return file;
}

TokenizerFile TokenizerTrainer::Impl::list_characters() const {
  TokenizerFile file;
  for (const char32_t c : characters) append_utf8(file.vocabulary.emplace_back(), c);
  // Without a decoder of its own, Hugging Face would put spaces between the characters.
  file.decoder = R"({"type":"Fuse"})";
  if (options.char_fallback == CharFallback::kBytes) {
    for (unsigned b = 0; b < 256; ++b) file.vocabulary.push_back(fmt::format("<0x{:02X}>", b));
    file.byte_fallback = true;
    file.decoder = R"({"decoders":[{"type":"ByteFallback"},{"type":"Fuse"}],"type":"Sequence"})";
  } else if (options.char_fallback == CharFallback::kUnknown) {
    file.unknown = add_special(file, "<|unk|>");
  }
  return file;
}

TokenizerTrainer::TokenizerTrainer(TokenizerTrainOptions options)
    : impl_(std::make_unique<Impl>(options)) {
  const size_t least = options.end_of_text ? 257 : 256;
  if (options.kind == TokenizerKind::kBpe && options.vocabulary < least) {
    throw UsageError(
        "vocabulary_too_small",
        fmt::format("a vocabulary of {} cannot hold the 256 bytes{}", options.vocabulary,
                    options.end_of_text ? " and the end of text" : ""),
        fmt::format("ask for at least {}, or for the kind char", least));
  }
}

TokenizerTrainer::~TokenizerTrainer() = default;

void TokenizerTrainer::feed(std::string_view document) {
  impl_->bytes += document.size();
  if (impl_->options.kind == TokenizerKind::kBpe) impl_->count_words(document);
  if (impl_->options.kind == TokenizerKind::kChar) impl_->collect_characters(document);
}

uint64_t TokenizerTrainer::bytes() const { return impl_->bytes; }
size_t TokenizerTrainer::words() const { return impl_->words.size(); }

std::shared_ptr<const Tokenizer> TokenizerTrainer::finish() {
  const TokenizerTrainOptions& options = impl_->options;
  if (options.kind == TokenizerKind::kByte) return Tokenizer::byte_level();
  if (impl_->bytes == 0) {
    throw Error("empty_corpus", "there is no text to train a tokenizer on",
                "check that the files hold text, or choose the kind byte, which needs none");
  }
  TokenizerFile file =
      options.kind == TokenizerKind::kBpe ? impl_->learn_bpe() : impl_->list_characters();
  if (options.end_of_text) add_special(file, kEndOfText);
  return Tokenizer::from_file(std::move(file), "trained tokenizer");
}

}  // namespace quern::features
