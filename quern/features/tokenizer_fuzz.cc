#include <cstdint>
#include <string_view>
#include <vector>

#include "quern/base/error.h"
#include "quern/features/tokenizer.h"

// A tokenizer.json from anywhere: loads or is refused; what loads encodes, decodes and writes
// itself, or says why not.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  try {
    const auto tokenizer = quern::features::Tokenizer::from_json(input);
    const auto again = quern::features::Tokenizer::from_json(tokenizer->to_json());
    std::vector<uint32_t> ids, same;
    tokenizer->encode(input, ids, true);
    again->encode(input, same, true);
    if (ids != same) __builtin_trap();
    tokenizer->decode(ids);
  } catch (const quern::Error&) {
  }
  return 0;
}
