#pragma once

#include <span>
#include <vector>

#include "quern/train/checkpoint.h"
#include "quern/train/ranks.h"

namespace quern::train {

/// Tensors made whole on the root, from the pieces that ranks hold; elsewhere empty.
struct GatheredTensors {
  std::vector<NamedTensor> tensors;
  std::vector<std::vector<float>> memory;  // of those that were in pieces
};
/// All ranks call it with the same names and shapes; together the pieces must cover each tensor
/// that is not whole on every rank.
GatheredTensors gather(Ranks& ranks, std::span<const NamedTensor> pieces);

}  // namespace quern::train
