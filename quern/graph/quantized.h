#pragma once

#include <cstdint>
#include <vector>

#include "quern/graph/graph.h"
#include "quern/kernels/quantized.h"

namespace quern::graph {

/// A matrix whose rows are blocks of 32 elements.
inline bool can_be_quantized(const Shape& shape) {
  return shape.rank() == 2 && shape.elements() > 0 && shape[1] % kernels::kQuantizedBlock == 0;
}

/// A tensor (rows, columns) of a quantised type, as the kernels read it.
inline kernels::QuantizedMatrix quantized_matrix(const TensorView& view) {
  return {.rows = view.shape()[0],
          .columns = view.shape()[1],
          .bits = view.type.dtype == DType::kQ8_0 ? 8 : 4,
          .data = view.data};
}

/// Indices of the parameters that a graph reads as weights of linear layers or as tables of
/// embeddings and in no other way, and whose shapes can be quantised: those that may be kept so.
std::vector<int32_t> quantizable_parameters(const Graph& graph);

}  // namespace quern::graph
