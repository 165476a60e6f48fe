#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace quern {

namespace fs = std::filesystem;

/// The whole file. Throws IoError (missing, a folder, unreadable) naming the path and what to do.
std::string read_file(const fs::path& path);

/// Writes beside the target and renames over it in commit(), after fsync of file and folder; a
/// reader sees the old file or the new one, never a part. Without commit() the destructor removes
/// the part. Throws IoError on any failure (a full disk included), leaving the old file as it was.
/// A link is followed; a device or a pipe is written in place, for nothing can be renamed over it.
class AtomicFile {
 public:
  explicit AtomicFile(fs::path target);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  /// Bytes written so far.
  uint64_t size() const { return size_; }
  void commit();

 private:
  void flush();
  void discard() noexcept;

  fs::path target_;
  fs::path part_;  // empty when written in place
  std::string buffer_;
  int descriptor_ = -1;
  uint64_t size_ = 0;
};

/// AtomicFile, write, commit.
void write_file(const fs::path& path, std::string_view text);

/// Appends whole records, flushing each (the experiment log, event files).
class AppendFile {
 public:
  explicit AppendFile(fs::path path);
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  void write(std::string_view text);
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
  int descriptor_ = -1;
};

/// A file mapped read-only for as long as the object lives. Moves keep the address. Throws IoError
/// (missing, a folder, not a plain file).
class MappedFile {
 public:
  MappedFile() = default;
  explicit MappedFile(const fs::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace quern
