#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace quern {

/// XXH3, 64 bits.
uint64_t hash64(std::string_view bytes, uint64_t seed = 0);
/// XXH3, 128 bits, as 32 hexadecimal digits.
std::string hash128_hex(std::string_view bytes);

/// Streaming XXH3, 128 bits.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;
  void update(std::string_view bytes);
  std::string hex() const;

 private:
  void* state_;
};

/// CRC-32C (Castagnoli) and TensorFlow's mask of it: rotr(crc, 15) + 0xa282ead8.
uint32_t crc32c(std::string_view bytes);
uint32_t masked_crc32c(std::string_view bytes);

}  // namespace quern
