#pragma once

#include <cstdint>

namespace quern::kernels::cuda {

/// What a kernel leaves in the word of faults when an index points outside; 0: nothing. The
/// executor turns it into an error after the run.
enum Fault : uint32_t { kNoFault, kGatherFault, kCacheFault, kEmbeddingFault };

}  // namespace quern::kernels::cuda
