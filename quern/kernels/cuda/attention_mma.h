#pragma once

#include <cstddef>
#include <cstdint>

#include "quern/kernels/host_device.h"

// The tiles of attention on tensor cores (attention_mma-inl.h), which its launches must know.
namespace quern::kernels::cuda::mma {

constexpr int kThreads = 128;
constexpr int kWarps = 4;
constexpr int kRows = 16;  // of a product of a warp
constexpr int kKeys = 64;  // of a tile in shared memory
constexpr int kMaxHeadDim = 128;

/// Decoding: a block takes 16 rows, the queries of all heads that read one key-value head, and each
/// of its warps a quarter of every tile of keys.
constexpr int kMaxSplitQueries = 16;

/// Rows of tiles in shared memory stand 16 bytes further apart than they are long, so that the
/// eight rows that ldmatrix reads at once lie in different banks.
QUERN_HOST_DEVICE constexpr int pitch_of(int head_dim) { return head_dim + 8; }
/// Queries of a block that walks keys: two products a warp where registers suffice.
QUERN_HOST_DEVICE constexpr int query_tiles(int head_dim) { return head_dim <= 64 ? 2 : 1; }
QUERN_HOST_DEVICE constexpr int query_rows(int head_dim) {
  return kWarps * kRows * query_tiles(head_dim);
}
/// backward_kv: queries of a tile, and whether its keys and values stay in shared memory, where
/// registers do not suffice.
QUERN_HOST_DEVICE constexpr int backward_queries(int head_dim) { return head_dim <= 64 ? 64 : 32; }
QUERN_HOST_DEVICE constexpr bool keys_stay(int head_dim) { return head_dim > 64; }

/// Bytes of `rows` rows in tiles.
constexpr size_t tile_bytes(int head_dim, int rows) {
  return sizeof(uint16_t) * static_cast<size_t>(rows * pitch_of(head_dim));
}
/// Two stages of keys and values, in every kernel that walks keys; what its queries need is read
/// where stages will stand later.
constexpr size_t key_stage_bytes(int head_dim) { return tile_bytes(head_dim, 4 * kKeys); }
/// Two stages of queries, gradients and a query's two statistics.
constexpr size_t query_stage_bytes(int head_dim) {
  const int queries = backward_queries(head_dim);
  return tile_bytes(head_dim, 4 * queries + (keys_stay(head_dim) ? 2 * kKeys : 0)) +
         sizeof(float) * static_cast<size_t>(4 * queries);
}

}  // namespace quern::kernels::cuda::mma
