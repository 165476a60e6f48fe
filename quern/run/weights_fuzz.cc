#include <unistd.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "quern/base/error.h"
#include "quern/run/run_folder.h"

// What is read of a quantised matrix is finite.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quern;
  static const fs::path folder =
      fs::temp_directory_path() / ("weights_fuzz." + std::to_string(getpid()));
  fs::create_directories(folder);
  write_file(folder / run::kWeightsFile, {reinterpret_cast<const char*>(data), size});
  graph::ParameterStore store;
  store.declare("w", {2, 64}, graph::ParameterGroup::kMatrix);
  store.declare("b", {3}, graph::ParameterGroup::kVector);
  try {
    run::load_weights(folder, store);
    if (!is_quantized(store.parameters()[0].dtype)) return 0;
    std::vector<float> weights(128);
    store.read(0, 0, weights);
    for (const float weight : weights) {
      if (!std::isfinite(weight)) __builtin_trap();
    }
  } catch (const Error&) {
  }
  return 0;
}
