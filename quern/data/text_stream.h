#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "quern/base/text_encoding.h"
#include "quern/data/byte_source.h"

namespace quern::data {

/// A source's text as valid UTF-8, block by block. The encoding is detected from the first 256 KiB
/// (UTF-8, UTF-16, GB18030) and converted; a byte-order mark is dropped.
class TextStream {
 public:
  /// `where` names the source in errors. Throws Error("binary_file") where the first bytes are no
  /// text.
  TextStream(std::unique_ptr<ByteSource> source, std::string where);

  /// The next block: whole characters, about a megabyte, never empty before the end; an empty one
  /// is the end. Valid until the next call. Throws FormatError with the byte offset at malformed
  /// text or a NUL.
  std::string_view next();
  /// The first block, which next() will give again. Only before next().
  std::string_view peek();

  TextEncoding encoding() const { return encoding_; }
  const std::string& where() const { return where_; }
  uint64_t consumed() const { return source_->consumed(); }

 private:
  void fill();

  std::unique_ptr<ByteSource> source_;
  std::string where_;
  TextEncoding encoding_ = TextEncoding::kUtf8;
  std::string raw_;      // bytes not yet converted
  uint64_t offset_ = 0;  // of raw_ in the source
  bool ended_ = false;
  std::string text_;
  bool peeked_ = false;
};

/// The lines of a text stream, without their ends (LF or CR LF).
class LineReader {
 public:
  explicit LineReader(TextStream& stream) : stream_(stream) {}
  /// False at the end. The line is valid until the next call. Throws FormatError for a line above
  /// 1 GiB.
  bool next(std::string_view& line);
  /// Of the line last given, from 1.
  uint64_t line_number() const { return line_number_; }

 private:
  TextStream& stream_;
  std::string_view block_;
  std::string joined_;
  uint64_t line_number_ = 0;
};

}  // namespace quern::data
