#include "quern/features/token_cache.h"

#include <fmt/format.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "quern/base/error.h"
#include "quern/base/hash.h"
#include "quern/base/interrupt.h"

namespace quern::features {
namespace {

static_assert(std::endian::native == std::endian::little, "token files are little-endian");

constexpr uint32_t kVersion = 1;
constexpr uint64_t kCheckedSize = uint64_t{1} << 30;
constexpr size_t kBatchBytes = size_t{8} << 20;

// Stands behind the tokens, for the counts are known last.
struct Trailer {
  char magic[8] = {'Q', 'U', 'E', 'R', 'N', 'T', 'O', 'K'};
  uint32_t version = kVersion;
  uint32_t width = 2;
  uint64_t tokens = 0, documents = 0, bytes = 0, predicted_bytes = 0;
  char content[32] = {};  // hash of the tokens
  uint64_t check = 0;     // hash of the fields before

  uint64_t hash() const {
    return hash64({reinterpret_cast<const char*>(this), offsetof(Trailer, check)});
  }
};
static_assert(sizeof(Trailer) == 88);

fs::path file_of(const fs::path& folder, const std::string& key, data::Part part) {
  return folder / fmt::format("{}.{}.tokens", key, data::name(part));
}

std::string key_of(const data::TextCorpus& corpus, const Tokenizer& tokenizer) {
  return hash128_hex(
      fmt::format("{} {} {}", kVersion, corpus.fingerprint(), tokenizer.fingerprint()));
}

class PartWriter {
 public:
  PartWriter(const fs::path& path, uint32_t width, const Tokenizer& tokenizer)
      : file_(path), tokenizer_(tokenizer), separator_(separator_of(tokenizer)) {
    trailer_.width = width;
  }

  void begin(bool true_beginning) {
    ++trailer_.documents;
    const bool wanted = trailer_.tokens > 0 || (separator_.outside && true_beginning);
    if (wanted && separator_.id && last_ != separator_.id) write({&*separator_.id, 1});
  }

  void text(std::span<const uint32_t> ids, uint64_t bytes) {
    trailer_.bytes += bytes;
    write(ids);
  }

  void end(bool true_end) {
    if (true_end && separator_.outside && separator_.id) write({&*separator_.id, 1});
  }

  void commit() {
    trailer_.predicted_bytes = trailer_.bytes - std::min(trailer_.bytes, first_bytes_);
    std::memcpy(trailer_.content, hasher_.hex().data(), sizeof trailer_.content);
    trailer_.check = trailer_.hash();
    file_.write(std::as_bytes(std::span(&trailer_, 1)));
    file_.commit();
  }

 private:
  void write(std::span<const uint32_t> ids) {
    if (ids.empty()) return;
    if (trailer_.tokens == 0 && !tokenizer_.is_special(ids[0])) {
      first_bytes_ = tokenizer_.token_bytes(ids[0]).size();
    }
    trailer_.tokens += ids.size();
    last_ = ids.back();
    std::string_view bytes(reinterpret_cast<const char*>(ids.data()), ids.size_bytes());
    if (trailer_.width == 2) {
      narrow_.assign(ids.begin(), ids.end());
      bytes = {reinterpret_cast<const char*>(narrow_.data()), narrow_.size() * 2};
    }
    hasher_.update(bytes);
    file_.write(bytes);
  }

  AtomicFile file_;
  const Tokenizer& tokenizer_;
  Separator separator_;
  Trailer trailer_;
  Hasher hasher_;
  std::optional<uint32_t> last_;
  uint64_t first_bytes_ = 0;
  std::vector<uint16_t> narrow_;
};

// Encodes pieces by the batch, each piece on its own, and writes them in order.
class CacheWriter {
 public:
  CacheWriter(const data::TextCorpus& corpus, const Tokenizer& tokenizer, const fs::path& folder,
              ThreadPool& pool, Reporter& reporter)
      : tokenizer_(tokenizer),
        pool_(pool),
        reporter_(reporter),
        total_(corpus.counts().bytes),
        estimate_(static_cast<double>(total_)) {
    const std::string key = key_of(corpus, tokenizer);
    const uint32_t width = tokenizer.vocabulary() <= (size_t{1} << 16) ? 2 : 4;
    for (const data::Part part : {data::Part::kTrain, data::Part::kValidation, data::Part::kTest}) {
      parts_[static_cast<size_t>(part)] =
          std::make_unique<PartWriter>(file_of(folder, key, part), width, tokenizer);
    }
    corpus.for_each([&](const data::TextPiece& piece) { add(piece); });
    flush();
    for (auto& part : parts_) part->commit();
  }

 private:
  struct Item {
    data::TextPiece piece;
    std::string text;
    std::vector<uint32_t> ids;
  };

  void add(const data::TextPiece& piece) {
    if (used_ == items_.size()) items_.emplace_back();
    Item& item = items_[used_++];
    item.piece = piece;
    item.text.assign(piece.text);
    if ((batch_bytes_ += piece.text.size()) >= kBatchBytes) flush();
  }

  void flush() {
    if (interrupted()) throw Error("interrupted", "stopped while the text became tokens");
    pool_.parallel_for(used_, [&](size_t i, int) {
      items_[i].ids.clear();
      tokenizer_.encode(items_[i].text, items_[i].ids);
    });
    for (size_t i = 0; i < used_; ++i) {
      const Item& item = items_[i];
      PartWriter& part = *parts_[static_cast<size_t>(item.piece.part)];
      if (item.piece.first) part.begin(item.piece.begins);
      part.text(item.ids, item.text.size());
      if (item.piece.last) part.end(item.piece.ends);
    }
    done_ += batch_bytes_;
    if (done_ < total_) {
      const auto done = static_cast<double>(done_);
      reporter_.progress(fmt::format("encoding {} of {}, {} left", format_bytes(done),
                                     format_bytes(static_cast<double>(total_)),
                                     format_duration(estimate_.seconds_left(done))));
    }
    used_ = 0;
    batch_bytes_ = 0;
  }

  const Tokenizer& tokenizer_;
  ThreadPool& pool_;
  Reporter& reporter_;
  uint64_t total_;
  uint64_t done_ = 0;
  Estimate estimate_;
  std::array<std::unique_ptr<PartWriter>, data::kParts> parts_;
  std::vector<Item> items_;
  size_t used_ = 0;
  size_t batch_bytes_ = 0;
};

}  // namespace

/// Maps what CacheWriter left, and checks it.
class TokenCacheReader {
 public:
  /// Nothing when the files are not there or not whole.
  static std::optional<TokenCache> read(const fs::path& folder, const std::string& key) {
    TokenCache cache;
    for (const data::Part part : {data::Part::kTrain, data::Part::kValidation, data::Part::kTest}) {
      if (!map(file_of(folder, key, part), cache.parts[static_cast<size_t>(part)])) {
        return std::nullopt;
      }
    }
    return cache;
  }

 private:
  static bool map(const fs::path& path, TokenPart& part) {
    std::error_code ignored;
    if (!fs::is_regular_file(path, ignored)) return false;
    part.file_ = MappedFile(path);
    const std::string_view bytes = part.file_.text();
    Trailer trailer;
    if (bytes.size() < sizeof trailer) return false;
    const std::string_view ids = bytes.substr(0, bytes.size() - sizeof trailer);
    std::memcpy(&trailer, bytes.data() + ids.size(), sizeof trailer);
    if (std::memcmp(trailer.magic, Trailer{}.magic, sizeof trailer.magic) != 0 ||
        trailer.check != trailer.hash() || trailer.version != kVersion ||
        (trailer.width != 2 && trailer.width != 4) || ids.size() % trailer.width != 0 ||
        ids.size() / trailer.width != trailer.tokens) {
      return false;
    }
    if (ids.size() <= kCheckedSize) {
      Hasher hasher;
      hasher.update(ids);
      if (hasher.hex() != std::string_view(trailer.content, sizeof trailer.content)) return false;
    }
    part.width_ = trailer.width;
    part.tokens_ = trailer.tokens;
    part.documents_ = trailer.documents;
    part.bytes_ = trailer.bytes;
    part.predicted_bytes_ = trailer.predicted_bytes;
    return true;
  }
};

void TokenPart::read(uint64_t begin, std::span<uint32_t> out) const {
  if (begin > tokens_ || out.size() > tokens_ - begin) {
    throw Error("out_of_range", fmt::format("tokens {} to {} of a stream of {}", begin,
                                            begin + out.size(), tokens_));
  }
  const std::byte* at = file_.bytes().data() + begin * width_;
  if (width_ == 4) {
    std::memcpy(out.data(), at, out.size_bytes());
    return;
  }
  for (size_t i = 0; i < out.size(); ++i) {
    uint16_t id;
    std::memcpy(&id, at + i * 2, 2);
    out[i] = id;
  }
}

TokenCache open_token_cache(const data::TextCorpus& corpus, const Tokenizer& tokenizer,
                            const fs::path& folder, ThreadPool& pool, Reporter& reporter) {
  const std::string key = key_of(corpus, tokenizer);
  if (auto found = TokenCacheReader::read(folder, key)) {
    found->reused = true;
    return std::move(*found);
  }
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    throw IoError(fmt::format("cannot make the folder '{}': {}", folder.string(), error.message()),
                  "name a folder that can be written",
                  error == std::errc::permission_denied ? "no_permission" : "io");
  }
  { [[maybe_unused]] const CacheWriter writer(corpus, tokenizer, folder, pool, reporter); }
  auto made = TokenCacheReader::read(folder, key);
  if (!made) {
    throw IoError(
        fmt::format("the token files just written to '{}' cannot be read back", folder.string()),
        "check the disk");
  }
  return std::move(*made);
}

fs::path default_cache_folder() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache == '/') {
    return fs::path(cache) / "quern";
  }
  if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/') {
    return fs::path(home) / ".cache" / "quern";
  }
  return fs::temp_directory_path() / "quern-cache";
}

fs::path usable_cache_folder(const fs::path& otherwise, Reporter& reporter) {
  fs::path folder = default_cache_folder();
  std::error_code error;
  fs::create_directories(folder, error);
  if (!error && access(folder.c_str(), W_OK | X_OK) != 0) {
    error = std::error_code(errno, std::generic_category());
  }
  if (!error) return folder;
  reporter.note(fmt::format("{}: cannot keep tokens there ({}); they go to {}", folder.string(),
                            error.message(), otherwise.string()));
  return otherwise;
}

}  // namespace quern::features
