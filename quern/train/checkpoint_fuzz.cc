#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "quern/base/error.h"
#include "quern/train/checkpoint.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const quern::fs::path path =
      quern::fs::temp_directory_path() / ("checkpoint_fuzz." + std::to_string(getpid()));
  quern::write_file(path, {reinterpret_cast<const char*>(data), size});
  std::array<float, 4> values{};
  const quern::train::NamedTensor tensor{"a", quern::Shape{2, 2}, values};
  try {
    quern::train::load_checkpoint(path, {&tensor, 1});
  } catch (const quern::Error&) {
  }
  return 0;
}
