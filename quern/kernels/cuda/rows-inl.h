// Kernels over rows: norms, softmax, losses, and the sums of columns. Each sum is a fixed tree.

#include "quern/kernels/cuda/arguments.h"
#include "quern/kernels/cuda/simt.h"

namespace quern::kernels::cuda {

QUERN_DEVICE int64_t lane() { return thread_index() % kWarp; }
/// This warp among all of the grid, and how many there are: a warp takes a row.
QUERN_DEVICE int64_t grid_warp() { return grid_thread() / kWarp; }
QUERN_DEVICE int64_t grid_warps() { return grid_threads() / kWarp; }

QUERN_TYPED_COOPERATIVE_KERNEL(quern_norm_forward, arguments::Norm) {
  const cpu::NormOf<T>& n = a.norm;
  const float width = static_cast<float>(n.width);
  for (int64_t row = grid_warp(); row < n.rows; row += grid_warps()) {
    const int64_t first = row * n.width;
    float total = 0;
    for (int64_t i = lane(); i < n.width; i += kWarp) {
      float value = n.x[first + i];
      if (n.residual != nullptr) {
        value += n.residual[first + i];
        a.sum[first + i] = value;
        value = a.sum[first + i];  // as it was rounded
      }
      total += value;
    }
    // What this lane wrote it reads again.
    const T* x = n.residual != nullptr ? a.sum : n.x;
    const float mean = n.rms ? 0 : warp_sum(total) / width;
    float squares = 0;
    for (int64_t i = lane(); i < n.width; i += kWarp) {
      const float centred = x[first + i] - mean;
      squares += centred * centred;
    }
    const float inverse = 1 / sqrtf(warp_sum(squares) / width + n.epsilon);
    if (a.statistics != nullptr && lane() == 0) {
      a.statistics[2 * row] = mean;
      a.statistics[2 * row + 1] = inverse;
    }
    for (int64_t i = lane(); i < n.width; i += kWarp) {
      float value = (x[first + i] - mean) * inverse;
      if (n.weight != nullptr) value *= n.weight[i];
      if (n.bias != nullptr) value += n.bias[i];
      a.y[first + i] = value;
    }
  }
}

QUERN_TYPED_COOPERATIVE_KERNEL(quern_norm_backward, arguments::NormBackward) {
  const cpu::NormOf<T>& n = a.norm;
  const float width = static_cast<float>(n.width);
  for (int64_t row = grid_warp(); row < n.rows; row += grid_warps()) {
    const int64_t first = row * n.width;
    const float mean = a.statistics[2 * row];
    const float inverse = a.statistics[2 * row + 1];
    float sum = 0;
    float products = 0;
    for (int64_t i = lane(); i < n.width; i += kWarp) {
      const float g = a.y_grad[first + i] * (n.weight != nullptr ? n.weight[i] : 1);
      sum += g;
      products += g * (n.x[first + i] - mean) * inverse;
    }
    sum = n.rms ? 0 : warp_sum(sum) / width;
    products = warp_sum(products) / width;
    for (int64_t i = lane(); i < n.width; i += kWarp) {
      const float g = a.y_grad[first + i] * (n.weight != nullptr ? n.weight[i] : 1);
      const float normal = (n.x[first + i] - mean) * inverse;
      float value = inverse * (g - sum - normal * products);
      if (a.sum_grad != nullptr) value += a.sum_grad[first + i];
      store(a.x_grad + first + i, value, a.accumulate);
    }
  }
}

/// A thread a column, a block row a part of the rows: partial sums that quern_column_sum joins.
QUERN_TYPED_KERNEL(quern_norm_parameters, arguments::NormParameters) {
  const cpu::NormOf<T>& n = a.norm;
  const int64_t part = block_y();
  for (int64_t i = grid_thread(); i < n.width; i += grid_threads()) {
    float weight = 0;
    float bias = 0;
    const int64_t end = smaller(n.rows, (part + 1) * a.rows_each);
    for (int64_t row = part * a.rows_each; row < end; ++row) {
      const float g = a.y_grad[row * n.width + i];
      weight += g * (n.x[row * n.width + i] - a.statistics[2 * row]) * a.statistics[2 * row + 1];
      bias += g;
    }
    if (a.weight_parts != nullptr) a.weight_parts[part * n.width + i] = weight;
    if (a.bias_parts != nullptr) a.bias_parts[part * n.width + i] = bias;
  }
}

QUERN_TYPED_KERNEL(quern_column_parts, arguments::ColumnParts) {
  const int64_t part = block_y();
  for (int64_t i = grid_thread(); i < a.width; i += grid_threads()) {
    float sum = 0;
    const int64_t end = smaller(a.rows, (part + 1) * a.rows_each);
    for (int64_t row = part * a.rows_each; row < end; ++row) sum += a.x[row * a.width + i];
    a.parts[part * a.width + i] = sum;
  }
}

QUERN_KERNEL(quern_column_sum, arguments::ColumnSum) {
  for (int64_t i = grid_thread(); i < a.width; i += grid_threads()) {
    float sum = 0;
    for (int64_t part = 0; part < a.count; ++part) sum += a.parts[part * a.width + i];
    store(a.out + i, sum, a.accumulate);
  }
}

/// Calls f(i, values, n) by one thread of the block for every stretch x[i] … x[i + n - 1] of a row:
/// whole packets from the first aligned place on, single elements about them.
template <typename T, typename F>
QUERN_DEVICE void for_row(const T* x, int64_t count, const F& f) {
  constexpr int64_t kCount = Packet<T>::kCount;
  const auto past = static_cast<int64_t>(reinterpret_cast<uintptr_t>(x) % 16 / sizeof(T));
  const int64_t head = smaller(count, (kCount - past) % kCount);
  const int64_t packets = (count - head) / kCount;
  for (int64_t i = thread_index(); i < head; i += thread_count()) f(i, x + i, 1);
  for (int64_t p = thread_index(); p < packets; p += thread_count()) {
    const Packet<T> packet = load_packet(x + head + p * kCount);
    f(head + p * kCount, packet.value, kCount);
  }
  for (int64_t i = head + packets * kCount + thread_index(); i < count; i += thread_count())
    f(i, x + i, 1);
}

/// y = f(i, x[i]) for a row of the block's; y may be x. Packets where y is aligned as x is.
template <typename T, typename F>
QUERN_DEVICE void map_row(const T* x, int64_t count, T* y, const F& f) {
  const bool alike = (reinterpret_cast<uintptr_t>(x) - reinterpret_cast<uintptr_t>(y)) % 16 == 0;
  if (!alike) {
    for (int64_t i = thread_index(); i < count; i += thread_count()) y[i] = f(i, x[i]);
    return;
  }
  for_row(x, count, [&](int64_t first, const T* values, int64_t n) {
    if (n == 1) {
      y[first] = f(first, values[0]);
      return;
    }
    Packet<T> out;
    for (int64_t k = 0; k < n; ++k) out.value[k] = f(first + k, values[k]);
    store_packet(y + first, out);
  });
}

/// The largest of a row and Σ exp(x - largest), in one pass over memory (Milakov & Gimelshein
/// 2018).
struct RowTotal {
  float most, sum;
};
template <typename T>
QUERN_DEVICE RowTotal row_total(const T* x, int64_t count, float* parts) {
  float most = -INFINITY;
  float sum = 0;
  for_row(x, count, [&](int64_t, const T* values, int64_t n) {
    float higher = most;
    for (int64_t k = 0; k < n; ++k) higher = largest(higher, values[k]);
    if (higher > most) {
      sum *= expf(most - higher);
      most = higher;
    }
    // Of nothing but -∞, zero; a NaN stays one.
    const float origin = most == -INFINITY ? 0 : most;
    for (int64_t k = 0; k < n; ++k) sum += expf(values[k] - origin);
  });
  const float all = block_max(most, parts);
  // A thread that saw nothing has most = -∞ and sum = 0.
  return {all, block_sum(sum == 0 ? 0 : sum * expf(most - all), parts)};
}

QUERN_COOPERATIVE_KERNEL(quern_softmax, arguments::Softmax) {
  QUERN_SHARED float parts[kWarp];
  for (int64_t row = block_x(); row < a.rows; row += blocks_x()) {
    const float* x = a.x + row * a.classes;
    const RowTotal total = row_total(x, a.classes, parts);
    map_row(x, a.classes, a.y + row * a.classes,
            [&](int64_t, float value) { return expf(value - total.most) / total.sum; });
  }
}

QUERN_COOPERATIVE_KERNEL(quern_softmax_backward, arguments::Softmax) {
  QUERN_SHARED float parts[kWarp];
  for (int64_t row = block_x(); row < a.rows; row += blocks_x()) {
    const int64_t first = row * a.classes;
    float sum = 0;
    for (int64_t i = thread_index(); i < a.classes; i += thread_count())
      sum += a.x[first + i] * a.y_grad[first + i];
    sum = block_sum(sum, parts);
    for (int64_t i = thread_index(); i < a.classes; i += thread_count())
      store(a.y + first + i, a.x[first + i] * (a.y_grad[first + i] - sum), a.accumulate);
  }
}

/// What a row leaves besides its gradient, by one thread: `own` is the target's share of the loss,
/// -log p, `mean` that of all classes.
template <typename T>
QUERN_DEVICE void finish_row(const arguments::CrossEntropy<T>& a, int64_t row, float lse, float own,
                             float mean) {
  const cpu::CrossEntropyOf<T>& c = a.loss;
  if (a.lse != nullptr) a.lse[row] = lse;
  if (a.nll != nullptr) a.nll[row] = own;
  const float weight = c.row_weights != nullptr ? c.row_weights[row] : 1;
  const float smoothed = (1 - c.label_smoothing) * own + c.label_smoothing * mean;
  a.row_losses[row] = c.targets[row] >= 0 ? weight * smoothed : 0;
}

template <typename T>
QUERN_DEVICE float mean_loss(const cpu::CrossEntropyOf<T>& c, const T* x, float lse, float* parts) {
  if (c.label_smoothing == 0) return 0;
  float mean = 0;
  for_row(x, c.classes, [&](int64_t, const T* values, int64_t n) {
    for (int64_t k = 0; k < n; ++k) mean += lse - values[k];
  });
  return block_sum(mean, parts) / static_cast<float>(c.classes);
}

/// A block a row.
QUERN_TYPED_COOPERATIVE_KERNEL(quern_cross_entropy_forward, arguments::CrossEntropy) {
  QUERN_SHARED float parts[kWarp];
  const cpu::CrossEntropyOf<T>& c = a.loss;
  for (int64_t row = block_x(); row < c.rows; row += blocks_x()) {
    const T* x = c.logits + row * c.classes;
    const RowTotal total = row_total(x, c.classes, parts);
    const float lse = total.most + logf(total.sum);
    const float mean = mean_loss(c, x, lse, parts);
    if (thread_index() != 0) continue;
    const int32_t target = c.targets[row];
    finish_row(a, row, lse, target >= 0 ? lse - x[target] : 0, mean);
  }
}

/// Loss and gradient at once, a block a row: it walks the vocabulary twice in stretches of a packet
/// a thread, the second time out of the cache, and leaves the gradient where the logits were.
QUERN_TYPED_COOPERATIVE_KERNEL(quern_cross_entropy_both, arguments::CrossEntropyBoth) {
  QUERN_SHARED float parts[kWarp];
  const cpu::CrossEntropyOf<T>& c = a.forward.loss;
  const float weight = static_cast<float>(a.weight);
  const float spread = c.label_smoothing / static_cast<float>(c.classes);
  for (int64_t row = block_x(); row < c.rows; row += blocks_x()) {
    const T* x = c.logits + row * c.classes;
    T* grad = a.grad + row * c.classes;
    const RowTotal total = row_total(x, c.classes, parts);
    const float lse = total.most + logf(total.sum);
    const float mean = mean_loss(c, x, lse, parts);
    const int32_t target = c.targets[row];
    if (target < 0) {
      map_row(x, c.classes, grad, [](int64_t, float) { return 0.0F; });
      if (thread_index() == 0) finish_row(a.forward, row, lse, 0, mean);
      continue;
    }
    const float factor = weight * (c.row_weights != nullptr ? c.row_weights[row] : 1);
    map_row(x, c.classes, grad, [&](int64_t i, float value) {
      float wanted = spread;
      if (i == target) {
        wanted += 1 - c.label_smoothing;
        finish_row(a.forward, row, lse, lse - value, mean);
      }
      return factor * (expf(value - lse) - wanted);
    });
  }
}

/// A block row a row, blocks along the classes: the gradient may take the place of the logits.
QUERN_TYPED_KERNEL(quern_cross_entropy_backward, arguments::CrossEntropyBackward) {
  const cpu::CrossEntropyOf<T>& c = a.loss;
  const float weight = static_cast<float>(a.weight);
  const float spread = c.label_smoothing / static_cast<float>(c.classes);
  for (int64_t row = block_x(); row < c.rows; row += blocks_x()) {
    const int32_t target = c.targets[row];
    const float factor = weight * (c.row_weights != nullptr ? c.row_weights[row] : 1);
    for (int64_t i = thread_index(); i < c.classes; i += thread_count()) {
      const int64_t at = row * c.classes + i;
      const float wanted = (i == target ? 1 - c.label_smoothing : 0) + spread;
      const float g = target < 0 ? 0 : factor * (expf(c.logits[at] - a.lse[row]) - wanted);
      store(a.grad + at, g, a.accumulate);
    }
  }
}

/// Threads of one block sum for each of the parts that quern_weighted_total joins.
QUERN_COOPERATIVE_KERNEL(quern_squared_error_forward, arguments::SquaredError) {
  QUERN_SHARED float parts[kWarp];
  const cpu::SquaredError& s = a.error;
  float sum = 0;
  for (int64_t i = grid_thread(); i < s.count; i += grid_threads()) {
    const float difference = s.predictions[i] - s.targets[i];
    const float square = difference * difference;
    if (a.errors != nullptr) a.errors[i] = square;
    sum += s.row_weights != nullptr ? s.row_weights[i] * square : square;
  }
  sum = block_sum(sum, parts);
  if (thread_index() == 0) a.parts[block_x()] = sum;
}

QUERN_KERNEL(quern_squared_error_backward, arguments::SquaredErrorBackward) {
  const cpu::SquaredError& s = a.error;
  const float weight = 2 * static_cast<float>(a.weight);
  for (int64_t i = grid_thread(); i < s.count; i += grid_threads()) {
    const float factor = s.row_weights != nullptr ? weight * s.row_weights[i] : weight;
    store(a.grad + i, factor * (s.predictions[i] - s.targets[i]), a.accumulate);
  }
}

/// One block: out = weight · Σ parts.
QUERN_COOPERATIVE_KERNEL(quern_weighted_total, arguments::WeightedTotal) {
  QUERN_SHARED float parts[kWarp];
  float sum = 0;
  for (int64_t i = thread_index(); i < a.count; i += thread_count()) sum += a.parts[i];
  sum = block_sum(sum, parts);
  if (thread_index() == 0) *a.out = static_cast<float>(a.weight) * sum;
}

}  // namespace quern::kernels::cuda
