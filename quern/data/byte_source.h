#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "quern/base/file.h"

namespace quern::data {

/// Bytes in order, never all in memory.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// Fills `out` from the front; fewer bytes than asked for mean the end. Throws IoError or
  /// FormatError.
  virtual size_t read(std::span<char> out) = 0;
  /// Bytes taken from the file so far (before decompression), for progress.
  virtual uint64_t consumed() const = 0;
};

/// A plain file, decompressed on the way where its first bytes say gzip or Zstandard. Memory stays
/// bounded whatever the file claims: Zstandard windows above 128 MiB are refused, and so is data
/// that grows more than 200-fold past 256 MiB (no text does; a decompression bomb does). Throws
/// IoError (missing, a folder, not a plain file), Error("empty_file"), and FormatError for a name
/// that promises compression over bytes that have none.
std::unique_ptr<ByteSource> open_bytes(const fs::path& path);

/// The same over bytes in memory; `where` names them in errors.
std::unique_ptr<ByteSource> open_bytes(std::string bytes, std::string where);

/// The extension that tells what a file holds, in small letters: ".csv" of "A.CSV.gz".
std::string content_extension(const fs::path& path);

}  // namespace quern::data
