#pragma once

#include "quern/base/file.h"
#include "quern/base/progress.h"
#include "quern/base/thread_pool.h"
#include "quern/formats/tensorboard.h"

namespace quern::cli {

/// Where a run keeps what was asked of it, apart from the curves of its training.
fs::path inference_folder(const fs::path& run);

/// Calls `write` with an event file in the run's inference folder. A run that may only be read is
/// no reason to fail: the reporter is told.
void write_inference_events(const fs::path& run, Reporter& reporter,
                            FunctionRef<void(formats::EventWriter&)> write);

}  // namespace quern::cli
