#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace quern::features {

/// GPT-2's spelling of bytes as printable characters: !-~, ¡-¬ and ®-ÿ stand for themselves, the
/// other 68 are U+0100 onwards in order of byte.
class ByteAlphabet {
 public:
  static const ByteAlphabet& get();
  std::string spell(std::string_view bytes) const;
  /// The bytes that `spelling` stands for, or nothing when a character is not of the alphabet.
  std::optional<std::string> bytes(std::string_view spelling) const;
  /// The 256 bytes in the order of their characters: GPT-2's first 256 ids.
  const std::array<uint8_t, 256>& order() const { return order_; }

 private:
  ByteAlphabet();
  std::array<char32_t, 256> character_{};
  std::array<int16_t, 324> byte_{};  ///< by code point; -1: none
  std::array<uint8_t, 256> order_{};
};

}  // namespace quern::features
