#include "quern/data/text_stream.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <utility>

#include "quern/base/error.h"

namespace quern::data {
namespace {

constexpr size_t kBlock = size_t{1} << 20;
constexpr size_t kLongestLine = size_t{1} << 30;

uint8_t byte_at(std::string_view text, size_t i) { return static_cast<uint8_t>(text[i]); }

// The prefix that ends between two characters; what looks malformed counts as whole, for the
// conversion to report.
size_t complete_prefix(std::string_view bytes, TextEncoding encoding) {
  switch (encoding) {
    case TextEncoding::kUtf16Le:
    case TextEncoding::kUtf16Be: {
      size_t size = bytes.size() - bytes.size() % 2;
      if (size >= 2) {
        const uint8_t high = byte_at(bytes, size - (encoding == TextEncoding::kUtf16Le ? 1 : 2));
        if (high >= 0xD8 && high <= 0xDB) size -= 2;
      }
      return size;
    }
    case TextEncoding::kGb18030: {
      size_t at = 0;
      while (at < bytes.size()) {
        const uint8_t first = byte_at(bytes, at);
        size_t length = 1;
        if (first > 0x80 && first < 0xFF) {
          if (at + 1 >= bytes.size()) break;
          const uint8_t second = byte_at(bytes, at + 1);
          length = second >= 0x30 && second <= 0x39 ? 4 : 2;
        }
        if (at + length > bytes.size()) break;
        at += length;
      }
      return at;
    }
    case TextEncoding::kUtf8:
    case TextEncoding::kBinary:
      break;
  }
  return complete_utf8_prefix(bytes);
}

}  // namespace

TextStream::TextStream(std::unique_ptr<ByteSource> source, std::string where)
    : source_(std::move(source)), where_(std::move(where)) {
  fill();
  encoding_ = detect_encoding(raw_);
  if (encoding_ == TextEncoding::kBinary) {
    const auto bad = find_invalid_utf8(raw_);
    const auto lines =
        std::count(raw_.begin(), raw_.begin() + static_cast<ptrdiff_t>(bad.value_or(0)), '\n');
    throw Error("binary_file",
                fmt::format("'{}' is not text: neither UTF-8, UTF-16 nor GB18030{}", where_,
                            bad ? fmt::format(" (line {}, byte {})", lines + 1, *bad + 1) : ""),
                "name a text file, or convert it to UTF-8");
  }
}

void TextStream::fill() {
  const size_t kept = raw_.size();
  raw_.resize(kept + kBlock);
  const size_t got = source_->read(std::span(raw_.data() + kept, kBlock));
  raw_.resize(kept + got);
  ended_ = got < kBlock;
}

std::string_view TextStream::peek() {
  if (!peeked_) {
    text_ = std::string(next());
    peeked_ = true;
  }
  return text_;
}

std::string_view TextStream::next() {
  if (std::exchange(peeked_, false)) return text_;
  text_.clear();
  while (text_.empty()) {
    if (raw_.empty() && !ended_) fill();
    if (raw_.empty()) break;
    const size_t size = ended_ ? raw_.size() : complete_prefix(raw_, encoding_);
    const std::string_view ready = std::string_view(raw_).substr(0, size);
    if (encoding_ == TextEncoding::kUtf8 && offset_ > 0 &&
        simdjson::validate_utf8(ready.data(), ready.size())) {
      text_.assign(ready);
    } else {
      const std::string where = offset_ == 0
                                    ? fmt::format("'{}'", where_)
                                    : fmt::format("'{}' (block from byte {})", where_, offset_);
      text_ = to_utf8(ready, encoding_, where);
    }
    raw_.erase(0, size);
    offset_ += size;
    if (const size_t at = text_.find('\0'); at != std::string::npos) {
      throw FormatError(
          fmt::format("'{}' holds a NUL character near byte {}", where_, offset_ - size + at),
          "remove it; text files have none");
    }
    if (!ended_ && raw_.size() < kBlock / 2) fill();
  }
  return text_;
}

bool LineReader::next(std::string_view& line) {
  joined_.clear();
  bool any = false;
  for (;;) {
    if (block_.empty()) {
      block_ = stream_.next();
      if (block_.empty()) break;
    }
    any = true;
    const size_t end = block_.find('\n');
    const std::string_view part = block_.substr(0, end);
    if (end != std::string_view::npos && joined_.empty()) {
      line = part;
      block_.remove_prefix(end + 1);
      break;
    }
    if (joined_.size() + part.size() > kLongestLine) {
      throw FormatError(
          fmt::format("'{}': line {} is longer than 1 GiB", stream_.where(), line_number_ + 1),
          "break the line");
    }
    joined_.append(part);
    block_.remove_prefix(end == std::string_view::npos ? block_.size() : end + 1);
    line = joined_;
    if (end != std::string_view::npos) break;
  }
  if (!any) return false;
  ++line_number_;
  if (line.ends_with('\r')) line.remove_suffix(1);
  return true;
}

}  // namespace quern::data
