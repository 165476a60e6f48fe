#include "quern/kernels/quantized.h"

#include <algorithm>
#include <cmath>

namespace quern::kernels {
namespace {

/// The scale is the largest magnitude over 127; its rounding to a half comes after the division.
Float16 block_of_8(const float* x, uint8_t* q) {
  float most = 0;
  for (int64_t i = 0; i < kQuantizedBlock; ++i) most = std::max(most, std::fabs(x[i]));
  const float scale = most / 127;
  const float inverse = scale != 0 ? 1 / scale : 0;
  for (int64_t i = 0; i < kQuantizedBlock; ++i)
    q[i] = static_cast<uint8_t>(static_cast<int8_t>(std::round(x[i] * inverse)));
  return scale;
}

/// The weight of the largest magnitude becomes -8.
Float16 block_of_4(const float* x, uint8_t* q) {
  float most = 0;
  for (int64_t i = 0; i < kQuantizedBlock; ++i) {
    if (std::fabs(x[i]) > std::fabs(most)) most = x[i];
  }
  const float scale = most / -8;
  const float inverse = scale != 0 ? 1 / scale : 0;
  const auto quant = [&](float value) {
    return static_cast<uint8_t>(std::min(15, static_cast<int>(value * inverse + 8.5F)));
  };
  for (int64_t i = 0; i < kQuantizedBlock / 2; ++i)
    q[i] = static_cast<uint8_t>(quant(x[i]) | quant(x[i + kQuantizedBlock / 2]) << 4);
  return scale;
}

}  // namespace

void quantize(const float* weights, const QuantizedMatrix& matrix, std::byte* data) {
  auto* quants = reinterpret_cast<uint8_t*>(data);
  auto* scales = reinterpret_cast<Float16*>(data + matrix.rows * matrix.row_bytes());
  const int64_t block_bytes = kQuantizedBlock * matrix.bits / 8;
  for (int64_t block = 0; block < matrix.rows * matrix.row_scales(); ++block) {
    scales[block] = (matrix.bits == 8 ? block_of_8 : block_of_4)(weights + block * kQuantizedBlock,
                                                                 quants + block * block_bytes);
  }
}

}  // namespace quern::kernels
