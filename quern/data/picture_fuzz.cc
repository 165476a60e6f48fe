#include <cstddef>
#include <cstdint>
#include <string>

#include "quern/base/error.h"
#include "quern/data/picture.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  try {
    const auto picture = quern::data::decode_picture(bytes, "fuzz");
    if (picture.height * picture.width < 1 << 20) quern::data::fit_picture(picture, 7, 9, 3);
  } catch (const quern::Error&) {
  }
  try {
    quern::data::parse_idx(bytes, "fuzz");
  } catch (const quern::Error&) {
  }
  return 0;
}
