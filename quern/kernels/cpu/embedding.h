#pragma once

#include <cstddef>
#include <cstdint>

#include "quern/kernels/cpu/context.h"
#include "quern/kernels/quantized.h"

namespace quern::kernels::cpu {

/// y (rows, width) = scale · Σ_j table[ids[row, j]] (+ positions[offset + t]) for `bag` ids a row;
/// an id of -1 adds nothing. rows = batch · length.
struct Embedding {
  int64_t batch = 0, length = 0, width = 0, bag = 1, vocabulary = 0;
  const int32_t* ids = nullptr;  // (batch, length, bag)
  const float* table = nullptr;  // (vocabulary, width)
  float scale = 1;
  const float* positions = nullptr;  // (capacity, width) or null
  const int32_t* offsets = nullptr;  // (batch) or null: 0
  QuantizedMatrix quantized{};  // (vocabulary, width), instead of table where its data is not null
};
void embedding_forward(const Context& context, const Embedding& embedding, float* y);

/// table_grad and position_grad, either may be null. Deterministic: ids are bucketed, not raced
/// for. Without accumulate the whole gradient is overwritten (zero where no id points).
size_t embedding_backward_scratch(const Embedding& embedding);
void embedding_backward(const Context& context, const Embedding& embedding, const float* y_grad,
                        float* table_grad, bool accumulate_table, float* position_grad,
                        bool accumulate_positions, int64_t position_capacity, std::byte* scratch);

}  // namespace quern::kernels::cpu
