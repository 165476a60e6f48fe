#include "quern/data/picture_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  quern::data::fuzz_picture("\xFF\xD8\xFF", data, size);
  return 0;
}
