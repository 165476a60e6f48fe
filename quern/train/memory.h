#pragma once

#include <cstdint>
#include <string_view>

namespace quern::train {

/// Bytes that a new process may take: what /proc/meminfo calls available, and what the control
/// group's limit leaves (versions 1 and 2), whichever is less. 0 where neither says.
uint64_t available_memory();

/// What training may take: `limit` (0: none) or what is available, whichever is less; so many
/// processes share what is available. The largest number where nothing is known.
uint64_t memory_there(uint64_t limit, int sharing = 1);

/// What else is held while a model trains, and what else may be done against it.
struct Beside {
  uint64_t bytes = 0;
  std::string_view hint;
};

/// Throws Error("not_enough_memory"): "training needs 31 GB, 24 GB are there", with the size below
/// as a hint, after that of what is `beside` the model, which `need` includes.
void require_memory(uint64_t need, uint64_t there, std::string_view size,
                    const Beside& beside = {});

}  // namespace quern::train
