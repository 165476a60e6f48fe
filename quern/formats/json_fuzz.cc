#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "quern/base/error.h"
#include "quern/formats/json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto value = quern::formats::parse_json(text, "input");
    // What was accepted survives being written and read again.
    if (quern::formats::parse_json(value.dump(), "again") != value) __builtin_trap();
  } catch (const quern::Error&) {
  }
  return 0;
}
