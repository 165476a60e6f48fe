#include <cstddef>
#include <cstdint>
#include <string>

#include "quern/base/error.h"
#include "quern/data/picture.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    quern::data::parse_idx(std::string(reinterpret_cast<const char*>(data), size), "fuzz");
  } catch (const quern::Error&) {
  }
  return 0;
}
