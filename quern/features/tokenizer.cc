#include "quern/features/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "quern/base/error.h"
#include "quern/base/hash.h"
#include "quern/base/text_encoding.h"
#include "quern/features/tokenizer_added.h"
#include "quern/features/tokenizer_alphabet.h"
#include "quern/features/tokenizer_bpe.h"
#include "quern/features/tokenizer_cache.h"
#include "quern/features/tokenizer_pipeline.h"
#include "quern/formats/tokenizer_json.h"

namespace quern::features {
namespace {

using formats::TokenizerFile;

bool is_byte_level(const TokenizerFile& file) {
  return !file.pre_tokenizers.empty() &&
         file.pre_tokenizers.back().kind == formats::PreTokenizer::Kind::kByteLevel;
}

/// "<0x0A>" is byte 10.
std::optional<uint8_t> fallback_byte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  unsigned value = 0;
  for (const char c : token.substr(3, 2)) {
    const bool digit = c >= '0' && c <= '9';
    if (!digit && !(c >= 'A' && c <= 'F')) return std::nullopt;
    value = value * 16 + static_cast<unsigned>(digit ? c - '0' : c - 'A' + 10);
  }
  return static_cast<uint8_t>(value);
}

/// What each token stands for.
std::vector<std::string> token_bytes_of(const TokenizerFile& file, bool byte_level) {
  std::vector<bool> literal(file.vocabulary.size());
  for (const formats::AddedToken& token : file.added_tokens) literal[token.id] = true;
  std::vector<std::string> bytes(file.vocabulary.size());
  for (size_t id = 0; id < bytes.size(); ++id) {
    const std::string& token = file.vocabulary[id];
    std::optional<std::string> spelled;
    if (byte_level && !literal[id]) {
      spelled = ByteAlphabet::get().bytes(token);
    } else if (file.byte_fallback) {
      if (const auto byte = fallback_byte(token))
        spelled = std::string(1, static_cast<char>(*byte));
    }
    bytes[id] = spelled ? std::move(*spelled) : token;
  }
  return bytes;
}

/// What encoding reuses from call to call; each concurrent call has its own.
struct EncodeState {
  PieceCache cache;
  MergeScratch scratch;
  std::vector<uint32_t> piece;
};

}  // namespace

struct Tokenizer::Impl {
  Impl(TokenizerFile source, std::string_view where)
      : file(std::move(source)),
        byte_level(is_byte_level(file)),
        bytes(token_bytes_of(file, byte_level)),
        special(bytes.size()),
        raw_added(file.added_tokens, false),
        normalised_added(file.added_tokens, true),
        pipeline(file.pre_tokenizers, where),
        model(file, bytes, byte_level) {
    for (const formats::AddedToken& token : file.added_tokens) {
      special[token.id] = token.special;
      for (const std::string_view name : {kEndOfText, std::string_view("<|end_of_text|>")}) {
        if (token.special && token.content == name && !end_of_text) end_of_text = token.id;
      }
    }
    UnicodeClasses::get();  // makes the table, so that the first encode need not
    kind = model.has_merges() ? "bpe" : byte_level ? "byte" : "char";
  }

  TokenizerFile file;
  bool byte_level;
  std::vector<std::string> bytes;  // by id
  std::vector<bool> special;
  std::optional<uint32_t> end_of_text;
  std::string_view kind;
  AddedTokenMatcher raw_added, normalised_added;
  SplitPipeline pipeline;
  BpeModel model;
  uint64_t fingerprint = 0;

  mutable std::mutex mutex;  // of `idle`
  mutable std::vector<std::unique_ptr<EncodeState>> idle;

  void encode_text(std::string_view text, EncodeState& state, std::vector<uint32_t>& ids) const;
  void encode_known(std::string_view text, EncodeState& state, std::vector<uint32_t>& ids) const;
};

/// Pieces by the scanner, ids by the cache: the path of every tokenizer that Quern trains.
void Tokenizer::Impl::encode_known(std::string_view text, EncodeState& state,
                                   std::vector<uint32_t>& ids) const {
  const auto* p = reinterpret_cast<const uint8_t*>(text.data());
  const uint8_t* end = p + text.size();
  // Ids gather in a block on the stack: growing the caller's vector per piece costs as much as
  // finding the piece.
  constexpr size_t kBlock = 1024;
  uint32_t block[kBlock + PieceCache::kIds];
  size_t used = 0;
  const auto flush = [&] {
    ids.insert(ids.end(), block, block + used);
    used = 0;
  };
  with_scanner(*pipeline.known(), [&](const auto& scanner) {
    while (p < end) {
      const uint8_t* q = scanner.next(p, end);
      const auto length = static_cast<size_t>(q - p);
      if (used >= kBlock) flush();
      const std::string_view piece(reinterpret_cast<const char*>(p), length);
      if (length <= PieceCache::kLongest) {
        const PieceCache::Key key = PieceCache::key(p, length, end);
        if (const PieceCache::Ids* known = state.cache.find(key)) {
          std::copy(known->begin(), known->end(), block + used);
          used += size_t{1} + ((*known)[1] != kNoToken) + ((*known)[2] != kNoToken) +
                  ((*known)[3] != kNoToken);
        } else {
          state.piece.clear();
          model.encode(piece, state.scratch, state.piece);
          state.cache.insert(key, state.piece);
          if (used + state.piece.size() > kBlock) flush();
          std::copy(state.piece.begin(), state.piece.end(), block + used);
          used += state.piece.size();
        }
      } else {
        flush();
        model.encode(piece, state.scratch, ids);
      }
      p = q;
    }
  });
  flush();
}

void Tokenizer::Impl::encode_text(std::string_view text, EncodeState& state,
                                  std::vector<uint32_t>& ids) const {
  // Three bytes a token are usual; memory not written to costs nothing.
  const size_t expected = ids.size() + text.size() / 3;
  if (expected > ids.capacity()) ids.reserve(std::max(expected, ids.capacity() * 2));
  if (pipeline.known()) return encode_known(text, state, ids);
  pipeline.split(text, [&](std::string_view piece) { model.encode(piece, state.scratch, ids); });
}

Tokenizer::Tokenizer() = default;
Tokenizer::~Tokenizer() = default;

std::shared_ptr<const Tokenizer> Tokenizer::load(const fs::path& tokenizer_json) {
  return from_json(read_file(tokenizer_json), tokenizer_json.string());
}

std::shared_ptr<const Tokenizer> Tokenizer::from_json(std::string_view json,
                                                      std::string_view where) {
  return from_file(formats::parse_tokenizer_json(json, where), where);
}

std::shared_ptr<const Tokenizer> Tokenizer::from_file(TokenizerFile file, std::string_view where) {
  const std::shared_ptr<Tokenizer> tokenizer(new Tokenizer());
  tokenizer->impl_ = std::make_unique<Impl>(std::move(file), where);
  tokenizer->impl_->fingerprint = hash64(tokenizer->to_json());
  return tokenizer;
}

std::shared_ptr<const Tokenizer> Tokenizer::byte_level() {
  TokenizerFile file;
  for (unsigned b = 0; b < 256; ++b) {
    const char byte = static_cast<char>(b);
    file.vocabulary.push_back(ByteAlphabet::get().spell({&byte, 1}));
  }
  file.added_tokens.push_back({256, std::string(kEndOfText)});
  file.vocabulary.emplace_back(kEndOfText);
  file.pre_tokenizers.push_back({});
  file.decoder =
      R"({"add_prefix_space":true,"trim_offsets":true,"type":"ByteLevel","use_regex":true})";
  return from_file(std::move(file), "byte tokenizer");
}

std::string Tokenizer::to_json() const { return formats::write_tokenizer_json(impl_->file); }

void Tokenizer::save(const fs::path& path) const { write_file(path, to_json()); }

void Tokenizer::encode(std::string_view text, std::vector<uint32_t>& ids,
                       bool allow_special) const {
  const Impl& impl = *impl_;
  std::unique_ptr<EncodeState> state;
  {
    const std::lock_guard lock(impl.mutex);
    if (!impl.idle.empty()) {
      state = std::move(impl.idle.back());
      impl.idle.pop_back();
    }
  }
  if (!state) state = std::make_unique<EncodeState>();
  const auto add = [&](uint32_t id) { ids.push_back(id); };
  const auto encode_text = [&](std::string_view part) { impl.encode_text(part, *state, ids); };
  const auto normalised = [&](std::string_view part) {
    impl.normalised_added.split(part, allow_special, encode_text, add);
  };
  impl.raw_added.split(
      text, allow_special,
      [&](std::string_view part) {
        if (impl.file.normalizers.empty()) return normalised(part);
        normalised(normalise(impl.file.normalizers, part));
      },
      add);
  const std::lock_guard lock(impl.mutex);
  impl.idle.push_back(std::move(state));
}

std::vector<uint32_t> Tokenizer::encode(std::string_view text, bool allow_special) const {
  std::vector<uint32_t> ids;
  encode(text, ids, allow_special);
  return ids;
}

std::string_view Tokenizer::token_bytes(uint32_t id) const {
  if (id >= impl_->bytes.size()) {
    throw Error("unknown_token",
                fmt::format("token {} is outside the vocabulary of {}", id, impl_->bytes.size()),
                "the ids come from another tokenizer; use the tokenizer.json they were made with");
  }
  return impl_->bytes[id];
}

std::string Tokenizer::decode(std::span<const uint32_t> ids, bool skip_special) const {
  std::string text;
  for (const uint32_t id : ids) {
    const std::string_view bytes = token_bytes(id);
    if (!skip_special || !impl_->special[id]) text += bytes;
  }
  return text;
}

bool Tokenizer::is_special(uint32_t id) const {
  token_bytes(id);
  return impl_->special[id];
}

size_t Tokenizer::vocabulary() const { return impl_->bytes.size(); }
std::optional<uint32_t> Tokenizer::end_of_text() const { return impl_->end_of_text; }
std::string_view Tokenizer::kind() const { return impl_->kind; }
uint64_t Tokenizer::fingerprint() const { return impl_->fingerprint; }

std::optional<uint32_t> Tokenizer::find(std::string_view token_bytes) const {
  const uint32_t id = impl_->model.find(token_bytes);
  if (id == kNoToken) return std::nullopt;
  return id;
}

Separator separator_of(const Tokenizer& tokenizer) {
  if (const auto end = tokenizer.end_of_text()) return {end, true};
  return {tokenizer.find("\n"), false};
}

std::string StreamingDecoder::push(uint32_t id) {
  const std::string_view bytes = tokenizer_.token_bytes(id);
  if (skip_special_ && tokenizer_.is_special(id)) return {};
  pending_ += bytes;
  std::string out;
  std::string_view rest = pending_;
  while (!rest.empty()) {
    const CodePoint c = decode_utf8(rest);
    if (c.value == CodePoint::kInvalid) {
      // A character that may still become whole waits; anything else is malformed for good.
      if (complete_utf8_prefix(rest) == 0) break;
      append_utf8(out, 0xFFFD);
    } else {
      out += rest.substr(0, c.length);
    }
    rest.remove_prefix(c.length);
  }
  pending_.erase(0, pending_.size() - rest.size());
  return out;
}

std::string StreamingDecoder::finish() {
  std::string out;
  if (!pending_.empty()) append_utf8(out, 0xFFFD);
  pending_.clear();
  return out;
}

}  // namespace quern::features
