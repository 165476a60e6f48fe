#include <cstddef>
#include <cstdint>
#include <string_view>

#include "quern/base/error.h"
#include "quern/model/model_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto config =
        quern::model::config_from_json({reinterpret_cast<const char*>(data), size}, "config.json");
    quern::model::config_from_json(quern::model::to_json(config), "again");
  } catch (const quern::Error&) {
  }
  return 0;
}
