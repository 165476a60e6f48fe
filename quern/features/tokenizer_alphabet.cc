#include "quern/features/tokenizer_alphabet.h"

#include "quern/base/text_encoding.h"

namespace quern::features {

ByteAlphabet::ByteAlphabet() {
  byte_.fill(-1);
  char32_t next = 0x100;
  for (unsigned b = 0; b < 256; ++b) {
    const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    character_[b] = printable ? char32_t{b} : next++;
    byte_[character_[b]] = static_cast<int16_t>(b);
  }
  size_t place = 0;
  for (const int16_t b : byte_) {
    if (b >= 0) order_[place++] = static_cast<uint8_t>(b);
  }
}

const ByteAlphabet& ByteAlphabet::get() {
  static const ByteAlphabet alphabet;
  return alphabet;
}

std::string ByteAlphabet::spell(std::string_view bytes) const {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char c : bytes) append_utf8(out, character_[static_cast<uint8_t>(c)]);
  return out;
}

std::optional<std::string> ByteAlphabet::bytes(std::string_view spelling) const {
  std::string out;
  out.reserve(spelling.size());
  while (!spelling.empty()) {
    const CodePoint c = decode_utf8(spelling);
    if (c.value >= byte_.size() || byte_[c.value] < 0) return std::nullopt;
    out.push_back(static_cast<char>(byte_[c.value]));
    spelling.remove_prefix(c.length);
  }
  return out;
}

}  // namespace quern::features
