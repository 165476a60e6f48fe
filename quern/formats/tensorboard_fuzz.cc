#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "quern/base/error.h"
#include "quern/base/hash.h"
#include "quern/formats/tensorboard.h"

// The bytes as a file, and framed as one record with right checksums, so that the fuzzer gets past
// them.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quern;
  const std::string body(reinterpret_cast<const char*>(data), size);
  const auto bytes_of = [](auto value) {
    std::string out(sizeof(value), '\0');
    std::memcpy(out.data(), &value, sizeof(value));
    return out;
  };
  const std::string length = bytes_of(uint64_t{size});
  const std::string framed =
      length + bytes_of(masked_crc32c(length)) + body + bytes_of(masked_crc32c(body));
  for (const std::string& file : {body, framed, framed + body}) {
    try {
      formats::read_events(file, "input");
    } catch (const Error&) {
    }
  }
  return 0;
}
