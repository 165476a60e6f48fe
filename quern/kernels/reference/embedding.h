#pragma once

#include <cstdint>

#include "quern/kernels/cpu/embedding.h"

namespace quern::kernels::reference {

/// As cpu::embedding_forward, with table and positions apart, so that double can serve finite
/// differences.
template <class T>
void embedding_forward(const cpu::Embedding& embedding, const T* table, const T* positions, T* y);
template <class T>
void embedding_backward(const cpu::Embedding& embedding, const T* y_grad, T* table_grad,
                        bool accumulate_table, T* position_grad, bool accumulate_positions,
                        int64_t position_capacity);

/// The same on the tensors of `embedding`.
inline void embedding_forward(const cpu::Embedding& embedding, float* y) {
  embedding_forward<float>(embedding, embedding.table, embedding.positions, y);
}

}  // namespace quern::kernels::reference
