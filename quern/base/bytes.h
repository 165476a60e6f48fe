#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace quern {

/// Reads little-endian values from foreign bytes with every bound checked. All reads throw
/// FormatError naming `what` and the byte offset when too few bytes are left.
class ByteReader {
 public:
  ByteReader(std::span<const std::byte> bytes, std::string_view what)
      : bytes_(bytes), what_(what) {}
  ByteReader(std::string_view bytes, std::string_view what)
      : bytes_(std::as_bytes(std::span(bytes.data(), bytes.size()))), what_(what) {}

  size_t offset() const { return offset_; }
  size_t remaining() const { return bytes_.size() - offset_; }
  uint8_t u8();
  uint16_t u16();
  uint32_t u32();
  uint64_t u64();
  float f32();
  double f64();
  std::span<const std::byte> bytes(uint64_t count);
  std::string_view text(uint64_t count);
  void skip(uint64_t count);

 private:
  std::span<const std::byte> bytes_;
  std::string_view what_;
  size_t offset_ = 0;
};

/// a * b and a + b, or FormatError naming `what` when the result does not fit 64 bits.
uint64_t checked_multiply(uint64_t a, uint64_t b, std::string_view what);
uint64_t checked_add(uint64_t a, uint64_t b, std::string_view what);

}  // namespace quern
