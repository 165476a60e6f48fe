#include "quern/data/byte_source.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>
#include <vector>

#include "quern/base/error.h"
#include "quern/base/strings.h"

namespace quern::data {
namespace {

constexpr size_t kBlock = size_t{1} << 17;
constexpr int kWindowLogMax = 27;
constexpr uint64_t kBombFloor = uint64_t{256} << 20;
constexpr uint64_t kBombRatio = 200;

class FileSource final : public ByteSource {
 public:
  explicit FileSource(const fs::path& path) : where_(path.string()) {
    // Without O_NONBLOCK a pipe would wait for its writer before it could be refused.
    descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor_ < 0) fail("cannot open", errno);
    struct stat status {};
    if (::fstat(descriptor_, &status) != 0) close_and_fail(errno);
    if (S_ISDIR(status.st_mode)) close_and_fail(EISDIR);
    if (!S_ISREG(status.st_mode)) {
      ::close(descriptor_);
      throw IoError(fmt::format("cannot read '{}': it is not a plain file", where_),
                    "data is read more than once; copy it to a file first");
    }
  }
  ~FileSource() override { ::close(descriptor_); }
  FileSource(const FileSource&) = delete;
  FileSource& operator=(const FileSource&) = delete;

  size_t read(std::span<char> out) override {
    size_t used = 0;
    while (used < out.size()) {
      const ssize_t got = ::read(descriptor_, out.data() + used, out.size() - used);
      if (got < 0) {
        if (errno == EINTR) continue;
        fail("cannot read", errno);
      }
      if (got == 0) break;
      used += static_cast<size_t>(got);
    }
    consumed_ += used;
    return used;
  }
  uint64_t consumed() const override { return consumed_; }

 private:
  [[noreturn]] void fail(std::string_view action, int error) const {
    const std::string message =
        fmt::format("{} '{}': {}", action, where_, std::generic_category().message(error));
    if (error == ENOENT || error == ENOTDIR) {
      throw IoError(message, "check the path", "file_missing");
    }
    if (error == EISDIR) throw IoError(message, "name a file, not a folder", "is_a_folder");
    if (error == EACCES || error == EPERM) {
      throw IoError(message, "check the permissions of the file and its folder", "no_permission");
    }
    throw IoError(message);
  }
  [[noreturn]] void close_and_fail(int error) const {
    ::close(descriptor_);
    fail("cannot read", error);
  }

  std::string where_;
  int descriptor_ = -1;
  uint64_t consumed_ = 0;
};

class MemorySource final : public ByteSource {
 public:
  explicit MemorySource(std::string bytes) : bytes_(std::move(bytes)) {}
  size_t read(std::span<char> out) override {
    const size_t count = std::min(out.size(), bytes_.size() - at_);
    std::memcpy(out.data(), bytes_.data() + at_, count);
    at_ += count;
    return count;
  }
  uint64_t consumed() const override { return at_; }

 private:
  std::string bytes_;
  size_t at_ = 0;
};

// What was read to recognise the compression, and then the rest.
class Buffered {
 public:
  explicit Buffered(std::unique_ptr<ByteSource> source) : source_(std::move(source)) {
    block_.resize(kBlock);
    fill();
  }
  std::string_view rest() const { return {block_.data() + at_, end_ - at_}; }
  void take(size_t count) { at_ += count; }
  /// Whether bytes are left; reads more when the block is used up.
  bool more() {
    if (at_ == end_) fill();
    return at_ < end_;
  }
  uint64_t consumed() const { return source_->consumed() - (end_ - at_); }

 private:
  void fill() {
    end_ = source_->read(block_);
    at_ = 0;
  }
  std::unique_ptr<ByteSource> source_;
  std::vector<char> block_;
  size_t at_ = 0;
  size_t end_ = 0;
};

class PlainSource final : public ByteSource {
 public:
  explicit PlainSource(Buffered in) : in_(std::move(in)) {}
  size_t read(std::span<char> out) override {
    size_t used = 0;
    while (used < out.size() && in_.more()) {
      const std::string_view rest = in_.rest().substr(0, out.size() - used);
      std::memcpy(out.data() + used, rest.data(), rest.size());
      in_.take(rest.size());
      used += rest.size();
    }
    return used;
  }
  uint64_t consumed() const override { return in_.consumed(); }

 private:
  Buffered in_;
};

class Decompressor : public ByteSource {
 public:
  Decompressor(Buffered in, std::string where) : in_(std::move(in)), where_(std::move(where)) {}
  uint64_t consumed() const override { return in_.consumed(); }

 protected:
  [[noreturn]] void damaged(std::string_view what) const {
    throw FormatError(fmt::format("'{}': {} at compressed byte {}", where_, what, in_.consumed()),
                      "the file is damaged or was not copied whole; fetch it again");
  }
  void count(size_t produced) {
    produced_ += produced;
    if (produced_ > kBombFloor && produced_ / kBombRatio > in_.consumed()) {
      throw FormatError(fmt::format("'{}' grows more than {}-fold when decompressed: no text does",
                                    where_, kBombRatio),
                        "if it is meant, decompress it yourself and name the result");
    }
  }

  Buffered in_;
  std::string where_;

 private:
  uint64_t produced_ = 0;
};

class GzipSource final : public Decompressor {
 public:
  GzipSource(Buffered in, std::string where) : Decompressor(std::move(in), std::move(where)) {
    // 15 + 16: the largest window, gzip framing with its checksum.
    if (inflateInit2(&stream_, 15 + 16) != Z_OK) throw IoError("zlib cannot start");
  }
  ~GzipSource() override { inflateEnd(&stream_); }
  GzipSource(const GzipSource&) = delete;
  GzipSource& operator=(const GzipSource&) = delete;

  size_t read(std::span<char> out) override {
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = static_cast<uInt>(out.size());
    while (stream_.avail_out > 0 && !done_) {
      if (!in_.more()) {
        if (!between_) damaged("the gzip data ends too early");
        break;
      }
      if (between_) {
        skip_padding();
        if (done_) break;
        between_ = false;
      }
      const std::string_view rest = in_.rest();
      stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(rest.data()));
      stream_.avail_in = static_cast<uInt>(rest.size());
      const int result = inflate(&stream_, Z_NO_FLUSH);
      in_.take(rest.size() - stream_.avail_in);
      if (result == Z_STREAM_END) {
        if (inflateReset(&stream_) != Z_OK) damaged("zlib cannot continue");
        between_ = true;
      } else if (result != Z_OK && result != Z_BUF_ERROR) {
        damaged(stream_.msg != nullptr ? stream_.msg : "malformed gzip data");
      }
    }
    const size_t produced = out.size() - stream_.avail_out;
    count(produced);
    return produced;
  }

 private:
  // Members follow one another; tapes and archives pad the last with zeros.
  void skip_padding() {
    while (in_.more() && in_.rest().front() == '\0') in_.take(1);
    done_ = !in_.more();
  }

  z_stream stream_{};
  bool between_ = false;  // a member has ended
  bool done_ = false;
};

class ZstdSource final : public Decompressor {
 public:
  ZstdSource(Buffered in, std::string where)
      : Decompressor(std::move(in), std::move(where)), stream_(ZSTD_createDStream()) {
    if (stream_ == nullptr ||
        ZSTD_isError(ZSTD_DCtx_setParameter(stream_, ZSTD_d_windowLogMax, kWindowLogMax)) != 0) {
      ZSTD_freeDStream(stream_);
      throw IoError("zstd cannot start");
    }
  }
  ~ZstdSource() override { ZSTD_freeDStream(stream_); }
  ZstdSource(const ZstdSource&) = delete;
  ZstdSource& operator=(const ZstdSource&) = delete;

  size_t read(std::span<char> out) override {
    ZSTD_outBuffer to{out.data(), out.size(), 0};
    while (to.pos < to.size) {
      const bool more = in_.more();
      if (!more && between_) break;
      const std::string_view rest = in_.rest();
      ZSTD_inBuffer from{rest.data(), rest.size(), 0};
      const size_t before = to.pos;
      const size_t result = ZSTD_decompressStream(stream_, &to, &from);
      in_.take(from.pos);
      if (ZSTD_isError(result) != 0) damaged(ZSTD_getErrorName(result));
      between_ = result == 0;
      if (!more && !between_ && to.pos == before) damaged("the Zstandard data ends too early");
    }
    count(to.pos);
    return to.pos;
  }

 private:
  ZSTD_DStream* stream_;
  bool between_ = false;  // a frame has ended
};

std::unique_ptr<ByteSource> recognise(std::unique_ptr<ByteSource> source,
                                      const std::string& where) {
  Buffered in(std::move(source));
  const std::string_view first = in.rest();
  if (first.empty()) {
    throw Error("empty_file", fmt::format("'{}' is empty", where), "name a file that holds text");
  }
  if (first.starts_with("\x1F\x8B")) return std::make_unique<GzipSource>(std::move(in), where);
  const bool skippable = first.size() >= 4 && (static_cast<uint8_t>(first[0]) & 0xF0) == 0x50 &&
                         first.substr(1, 3) == "\x2A\x4D\x18";
  if (first.starts_with("\x28\xB5\x2F\xFD") || skippable) {
    return std::make_unique<ZstdSource>(std::move(in), where);
  }
  if (where.ends_with(".gz") || where.ends_with(".zst")) {
    throw FormatError(fmt::format("'{}' is not compressed, though its name says so", where),
                      "rename it, or fetch it again");
  }
  return std::make_unique<PlainSource>(std::move(in));
}

}  // namespace

std::unique_ptr<ByteSource> open_bytes(const fs::path& path) {
  return recognise(std::make_unique<FileSource>(path), path.string());
}

std::unique_ptr<ByteSource> open_bytes(std::string bytes, std::string where) {
  return recognise(std::make_unique<MemorySource>(std::move(bytes)), where);
}

std::string content_extension(const fs::path& path) {
  const std::string extension = lower_ascii(path.extension().string());
  if (extension != ".gz" && extension != ".zst") return extension;
  return lower_ascii(path.stem().extension().string());
}

}  // namespace quern::data
