#pragma once

#include <cstddef>
#include <cstdint>

#include "quern/kernels/float16.h"
#include "quern/kernels/host_device.h"

namespace quern::kernels {

/// Weights of a row that share a scale.
inline constexpr int64_t kQuantizedBlock = 32;

/// A matrix (rows, columns) of integers and a scale for each block of 32 weights of a row, with the
/// values of GGUF's Q8_0 and Q4_0 blocks: weight = scale · q, q an int8 (8 bits), or 0 … 15 less 8
/// (4 bits: of a block's 16 bytes, the low halves are weights 0 … 15, the high ones 16 … 31). Here
/// all q stand first, row by row (rows, columns · bits / 8 bytes), then all scales (rows, columns /
/// 32). `columns` is a multiple of 32; `data` is aligned to 64 bytes.
struct QuantizedMatrix {
  int64_t rows = 0, columns = 0;
  int bits = 8;  // 8 or 4
  const std::byte* data = nullptr;

  QUERN_HOST_DEVICE int64_t row_bytes() const { return columns * bits / 8; }
  QUERN_HOST_DEVICE int64_t row_scales() const { return columns / kQuantizedBlock; }
  QUERN_HOST_DEVICE int64_t bytes() const {
    return rows * (row_bytes() + row_scales() * static_cast<int64_t>(sizeof(Float16)));
  }
  QUERN_HOST_DEVICE const uint8_t* quants(int64_t row) const {
    return reinterpret_cast<const uint8_t*>(data) + row * row_bytes();
  }
  QUERN_HOST_DEVICE const Float16* scales(int64_t row) const {
    return reinterpret_cast<const Float16*>(data + rows * row_bytes()) + row * row_scales();
  }
  QUERN_HOST_DEVICE float weight(int64_t row, int64_t column) const {
    const int64_t block = column / kQuantizedBlock;
    const int64_t place = column % kQuantizedBlock;
    const float scale = scales(row)[block];
    const uint8_t* q = quants(row) + block * kQuantizedBlock * bits / 8;
    if (bits == 8) return scale * static_cast<float>(static_cast<int8_t>(q[place]));
    const int byte = q[place % 16];
    return scale * static_cast<float>((place < 16 ? byte & 15 : byte >> 4) - 8);
  }
};

/// Rounds weights (rows, columns) to the integers that GGUF's reference chooses, into
/// matrix.bytes() bytes at `data`, which is what `matrix.data` points to.
void quantize(const float* weights, const QuantizedMatrix& matrix, std::byte* data);

}  // namespace quern::kernels
