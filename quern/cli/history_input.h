#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "quern/run/item_run.h"

namespace quern::cli {

/// The items that a known user took, or those named in `history`, separated by commas. Throws
/// UsageError("unknown_user") or ("unknown_item") naming the nearest.
std::vector<uint32_t> named_history(const run::ItemRun& run, const std::string& user,
                                    const std::string& history);

}  // namespace quern::cli
