#include "quern/base/bytes.h"

#include <bit>
#include <string>

#include "quern/base/error.h"

namespace quern {
namespace {

template <typename T>
T little_endian(std::span<const std::byte> bytes) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) {
    value = static_cast<T>(value | (std::to_integer<T>(bytes[i]) << (8 * i)));
  }
  return value;
}

}  // namespace

std::span<const std::byte> ByteReader::bytes(uint64_t count) {
  if (count > remaining()) {
    throw FormatError(std::string(what_) + ": " + std::to_string(count) +
                          " bytes wanted at offset " + std::to_string(offset_) + ", " +
                          std::to_string(remaining()) + " are there",
                      "the file is cut short or damaged");
  }
  const auto part = bytes_.subspan(offset_, static_cast<size_t>(count));
  offset_ += part.size();
  return part;
}

uint8_t ByteReader::u8() { return little_endian<uint8_t>(bytes(1)); }
uint16_t ByteReader::u16() { return little_endian<uint16_t>(bytes(2)); }
uint32_t ByteReader::u32() { return little_endian<uint32_t>(bytes(4)); }
uint64_t ByteReader::u64() { return little_endian<uint64_t>(bytes(8)); }
float ByteReader::f32() { return std::bit_cast<float>(u32()); }
double ByteReader::f64() { return std::bit_cast<double>(u64()); }
void ByteReader::skip(uint64_t count) { bytes(count); }

std::string_view ByteReader::text(uint64_t count) {
  const auto part = bytes(count);
  return {reinterpret_cast<const char*>(part.data()), part.size()};
}

uint64_t checked_multiply(uint64_t a, uint64_t b, std::string_view what) {
  uint64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) {
    throw FormatError(std::string(what) + ": " + std::to_string(a) + " x " + std::to_string(b) +
                      " does not fit 64 bits");
  }
  return product;
}

uint64_t checked_add(uint64_t a, uint64_t b, std::string_view what) {
  uint64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) {
    throw FormatError(std::string(what) + ": " + std::to_string(a) + " + " + std::to_string(b) +
                      " does not fit 64 bits");
  }
  return sum;
}

}  // namespace quern
