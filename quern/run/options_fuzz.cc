#include <cstddef>
#include <cstdint>
#include <string_view>

#include "quern/base/error.h"
#include "quern/run/options.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  quern::run::Options options;
  try {
    options.assign(text.substr(0, text.find('\n')));
  } catch (const quern::Error&) {
  }
  try {
    options.parse(text, "fuzz");
    // What was accepted must be written in a way that is read back as the same.
    const std::string resolved = options.to_toml();
    if (quern::run::Options::from_resolved(resolved, "resolved").text("data.target") !=
        options.text("data.target")) {
      __builtin_trap();
    }
  } catch (const quern::Error&) {
  }
  return 0;
}
