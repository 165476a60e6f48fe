#include <cstddef>
#include <cstdint>
#include <span>

#include "quern/base/error.h"
#include "quern/formats/safetensors.h"

// Every accepted entry lies inside the file, and the entries fill it.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quern;
  try {
    const auto file = std::as_bytes(std::span(data, size));
    uint64_t total = 0;
    for (const auto& entry : formats::parse_safetensors(file, "input").tensors) {
      if (entry.offset > size || entry.bytes > size - entry.offset) __builtin_trap();
      total += entry.bytes;
    }
    if (total > size) __builtin_trap();
  } catch (const Error&) {
  }
  return 0;
}
