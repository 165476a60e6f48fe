#include "quern/cli/inference_events.h"

#include <fmt/format.h>

#include "quern/base/error.h"
#include "quern/run/run_folder.h"

namespace quern::cli {

fs::path inference_folder(const fs::path& run) { return run / run::kInferenceFolder; }

void write_inference_events(const fs::path& run, Reporter& reporter,
                            FunctionRef<void(formats::EventWriter&)> write) {
  try {
    std::error_code ignored;  // the writer tells when there is no folder
    fs::create_directories(inference_folder(run), ignored);
    formats::EventWriter events(inference_folder(run));
    write(events);
    events.flush();
  } catch (const Error& error) {
    reporter.note(fmt::format("nothing written for TensorBoard: {}", error.what()));
  }
}

}  // namespace quern::cli
