#include "quern/data/picture_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // The container's length is the one that fits, so that the fuzzer gets beyond it.
  std::string begin = "RIFF";
  for (int shift = 0; shift < 32; shift += 8)
    begin += static_cast<char>((size + 4) >> shift & 0xFF);
  quern::data::fuzz_picture(begin + "WEBP", data, size);
  return 0;
}
