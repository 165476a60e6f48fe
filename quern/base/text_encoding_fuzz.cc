#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "quern/base/error.h"
#include "quern/base/text_encoding.h"

// What is detected and converted is valid UTF-8, and detection's own claim about UTF-8 holds.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quern;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const TextEncoding detected = detect_encoding(bytes);
  for (const TextEncoding encoding :
       {detected, TextEncoding::kUtf8, TextEncoding::kUtf16Le, TextEncoding::kUtf16Be,
        TextEncoding::kGb18030, TextEncoding::kBinary}) {
    try {
      if (find_invalid_utf8(to_utf8(bytes, encoding, "input"))) std::abort();
      if (encoding == TextEncoding::kBinary) std::abort();
    } catch (const Error&) {
    }
  }
  const size_t prefix = complete_utf8_prefix(bytes);
  if (prefix > size || size - prefix > 3) std::abort();
  if (!find_invalid_utf8(bytes) && prefix != size) std::abort();
  return 0;
}
