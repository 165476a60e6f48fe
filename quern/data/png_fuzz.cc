#include "quern/data/picture_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  quern::data::fuzz_picture("\x89PNG\r\n\x1A\n", data, size);
  return 0;
}
