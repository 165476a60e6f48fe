#include "quern/kernels/reference/embedding.h"

#include <cstddef>
#include <vector>

namespace quern::kernels::reference {
namespace {

int64_t position_of(const cpu::Embedding& e, int64_t row) {
  return (e.offsets ? e.offsets[row / e.length] : 0) + row % e.length;
}

template <class T>
void put(const std::vector<double>& from, T* to, bool accumulate) {
  for (size_t i = 0; i < from.size(); ++i)
    to[i] = static_cast<T>(from[i] + (accumulate ? static_cast<double>(to[i]) : 0));
}

}  // namespace

template <class T>
void embedding_forward(const cpu::Embedding& e, const T* table, const T* positions, T* y) {
  for (int64_t row = 0; row < e.batch * e.length; ++row) {
    for (int64_t i = 0; i < e.width; ++i) {
      double v = 0;
      for (int64_t j = 0; j < e.bag; ++j) {
        const int64_t id = e.ids[row * e.bag + j];
        if (id < 0) continue;
        v += e.quantized.data != nullptr ? static_cast<double>(e.quantized.weight(id, i))
                                         : static_cast<double>(table[id * e.width + i]);
      }
      v *= static_cast<double>(e.scale);
      if (positions) v += static_cast<double>(positions[position_of(e, row) * e.width + i]);
      y[row * e.width + i] = static_cast<T>(v);
    }
  }
}

template <class T>
void embedding_backward(const cpu::Embedding& e, const T* y_grad, T* table_grad,
                        bool accumulate_table, T* position_grad, bool accumulate_positions,
                        int64_t position_capacity) {
  std::vector<double> table(static_cast<size_t>(e.vocabulary * e.width));
  std::vector<double> positions(static_cast<size_t>(position_capacity * e.width));
  for (int64_t row = 0; row < e.batch * e.length; ++row) {
    for (int64_t i = 0; i < e.width; ++i) {
      const double g = static_cast<double>(y_grad[row * e.width + i]);
      for (int64_t j = 0; j < e.bag; ++j) {
        const int64_t id = e.ids[row * e.bag + j];
        if (id >= 0)
          table[static_cast<size_t>(id * e.width + i)] += g * static_cast<double>(e.scale);
      }
      if (position_grad) positions[static_cast<size_t>(position_of(e, row) * e.width + i)] += g;
    }
  }
  if (table_grad) put(table, table_grad, accumulate_table);
  if (position_grad) put(positions, position_grad, accumulate_positions);
}

template void embedding_forward(const cpu::Embedding&, const float*, const float*, float*);
template void embedding_backward(const cpu::Embedding&, const float*, float*, bool, float*, bool,
                                 int64_t);
template void embedding_forward(const cpu::Embedding&, const double*, const double*, double*);
template void embedding_backward(const cpu::Embedding&, const double*, double*, bool, double*, bool,
                                 int64_t);

}  // namespace quern::kernels::reference
