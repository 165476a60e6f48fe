#pragma once

#include <cstdint>

namespace quern::kernels::cuda {

constexpr int64_t kAttentionTile = 16;  // queries, and keys, that a block holds
constexpr int64_t kMaxHeadDim = 512;

}  // namespace quern::kernels::cuda
