#pragma once

#include <cstdint>
#include <string_view>

namespace quern::train {

/// Bytes that a new process may take: what /proc/meminfo calls available, and what the control
/// group's limit leaves (versions 1 and 2), whichever is less. 0 where neither says.
uint64_t available_memory();

/// Throws Error("not_enough_memory"): "training needs 31 GB, 24 GB are there", with the size below
/// as a hint. `limit` 0: what is available, which so many processes share.
void require_memory(uint64_t need, uint64_t limit, std::string_view size, int sharing = 1);

}  // namespace quern::train
