#include "quern/kernels/cuda/kernels.h"
#include "quern/kernels/cuda/launch.h"
#include "quern/tensor/buffer.h"

// Norms, losses, tables, sums of columns: what needs scratch for parts that a second kernel joins.
namespace quern::kernels::cuda {
namespace {

// Rows that one thread sums: few enough parts for their second pass to be short.
constexpr int64_t kRowsEach = 128;

float* floats(std::byte* scratch) { return reinterpret_cast<float*>(scratch); }
size_t bytes_of(int64_t count) { return Buffer::align(static_cast<size_t>(count) * sizeof(float)); }

/// out (width) (+)= the parts (count, width) summed in order.
void join(const Context& context, const float* parts, int64_t count, int64_t width, float* out,
          bool accumulate) {
  launch_threads(context, "quern_column_sum", width,
                 arguments::ColumnSum{parts, count, width, out, accumulate});
}

LaunchSize over_parts(int64_t parts, int64_t width) {
  return {.blocks_x = blocks_for(width, kThreads), .blocks_y = static_cast<uint32_t>(parts)};
}

/// At most 65,535 parts: the grid's second dimension.
int64_t rows_each(int64_t rows) { return std::max(kRowsEach, parts_of(rows, 65535)); }

void total(const Context& context, const float* parts, int64_t count, Scalar weight, float* out) {
  launch(context, "quern_weighted_total", {}, arguments::WeightedTotal{parts, count, weight, out});
}

}  // namespace

template <typename T>
void norm_forward(const Context& context, const cpu::NormOf<T>& norm, T* y, T* sum,
                  float* statistics) {
  launch_warps(context, name_of<T>("quern_norm_forward", "quern_norm_forward_bf16"), norm.rows,
               arguments::Norm<T>{norm, y, sum, statistics});
}

size_t norm_backward_scratch(int64_t rows, int64_t width) {
  return 2 * bytes_of(parts_of(rows, rows_each(rows)) * width);
}

template <typename T>
void norm_backward(const Context& context, const cpu::NormOf<T>& norm, const float* statistics,
                   const T* y_grad, const std::type_identity_t<T>* sum_grad,
                   std::type_identity_t<T>* x_grad, bool accumulate_x, float* weight_grad,
                   float* bias_grad, bool accumulate_parameters, std::byte* scratch) {
  if (norm.rows == 0) return;
  if (weight_grad != nullptr || bias_grad != nullptr) {
    const int64_t parts = parts_of(norm.rows, rows_each(norm.rows));
    float* weight_parts = weight_grad != nullptr ? floats(scratch) : nullptr;
    float* bias_parts =
        bias_grad != nullptr ? floats(scratch + bytes_of(parts * norm.width)) : nullptr;
    launch(context, name_of<T>("quern_norm_parameters", "quern_norm_parameters_bf16"),
           over_parts(parts, norm.width),
           arguments::NormParameters<T>{norm, statistics, y_grad, rows_each(norm.rows),
                                        weight_parts, bias_parts});
    if (weight_grad != nullptr)
      join(context, weight_parts, parts, norm.width, weight_grad, accumulate_parameters);
    if (bias_grad != nullptr)
      join(context, bias_parts, parts, norm.width, bias_grad, accumulate_parameters);
  }
  if (x_grad == nullptr) return;
  launch_warps(
      context, name_of<T>("quern_norm_backward", "quern_norm_backward_bf16"), norm.rows,
      arguments::NormBackward<T>{norm, statistics, y_grad, sum_grad, x_grad, accumulate_x});
}

size_t column_sum_scratch(int64_t m, int64_t n) { return bytes_of(parts_of(m, rows_each(m)) * n); }

template <typename T>
void column_sum(const Context& context, const T* x, int64_t m, int64_t n, float* out,
                bool accumulate, std::byte* scratch) {
  const int64_t parts = parts_of(m, rows_each(m));
  if (parts > 0 && n > 0) {
    launch(context, name_of<T>("quern_column_parts", "quern_column_parts_bf16"),
           over_parts(parts, n), arguments::ColumnParts<T>{x, m, n, rows_each(m), floats(scratch)});
  }
  join(context, floats(scratch), parts, n, out, accumulate);
}

size_t cross_entropy_forward_scratch(int64_t rows) { return bytes_of(rows); }

template <typename T>
void cross_entropy_forward(const Context& context, const cpu::CrossEntropyOf<T>& cross_entropy,
                           Scalar weight, float* nll, float* lse, float* loss, std::byte* scratch) {
  launch_blocks(
      context, name_of<T>("quern_cross_entropy_forward", "quern_cross_entropy_forward_bf16"),
      cross_entropy.rows, arguments::CrossEntropy<T>{cross_entropy, nll, lse, floats(scratch)});
  total(context, floats(scratch), cross_entropy.rows, weight, loss);
}

template <typename T>
void cross_entropy_backward(const Context& context, const cpu::CrossEntropyOf<T>& cross_entropy,
                            const float* lse, Scalar weight, T* logits_grad, bool accumulate) {
  launch_blocks(
      context, name_of<T>("quern_cross_entropy_backward", "quern_cross_entropy_backward_bf16"),
      cross_entropy.rows,
      arguments::CrossEntropyBackward<T>{cross_entropy, lse, weight, logits_grad, accumulate});
}

size_t cross_entropy_both_scratch(int64_t rows) { return bytes_of(rows); }

template <typename T>
void cross_entropy_both(const Context& context, const cpu::CrossEntropyOf<T>& cross_entropy,
                        Scalar weight, Scalar gradient_weight, float* nll, float* lse, float* loss,
                        T* logits_grad, std::byte* scratch) {
  launch_blocks(context, name_of<T>("quern_cross_entropy_both", "quern_cross_entropy_both_bf16"),
                cross_entropy.rows,
                arguments::CrossEntropyBoth<T>{
                    {cross_entropy, nll, lse, floats(scratch)}, gradient_weight, logits_grad});
  total(context, floats(scratch), cross_entropy.rows, weight, loss);
}

size_t squared_error_scratch(int64_t count) { return bytes_of(blocks_for(count, kThreads)); }

void squared_error_forward(const Context& context, const cpu::SquaredError& squared_error,
                           Scalar weight, float* errors, float* loss, std::byte* scratch) {
  launch_threads(context, "quern_squared_error_forward", squared_error.count,
                 arguments::SquaredError{squared_error, errors, floats(scratch)});
  const int64_t parts = squared_error.count > 0 ? blocks_for(squared_error.count, kThreads) : 0;
  total(context, floats(scratch), parts, weight, loss);
}

void squared_error_backward(const Context& context, const cpu::SquaredError& squared_error,
                            Scalar weight, float* grad, bool accumulate) {
  launch_threads(context, "quern_squared_error_backward", squared_error.count,
                 arguments::SquaredErrorBackward{squared_error, weight, grad, accumulate});
}

void softmax(const Context& context, const float* x, int64_t rows, int64_t classes, float* y) {
  launch_blocks(context, "quern_softmax", rows,
                arguments::Softmax{x, nullptr, rows, classes, y, false});
}

void softmax_backward(const Context& context, const float* y, const float* y_grad, int64_t rows,
                      int64_t classes, float* x_grad, bool accumulate) {
  launch_blocks(context, "quern_softmax_backward", rows,
                arguments::Softmax{y, y_grad, rows, classes, x_grad, accumulate});
}

template <typename T>
void embedding_forward(const Context& context, const cpu::Embedding& embedding, T* y) {
  launch_threads(context, name_of<T>("quern_embedding_forward", "quern_embedding_forward_bf16"),
                 embedding.batch * embedding.length * embedding.width,
                 arguments::Embedding<T>{embedding, y, context.fault});
}

size_t embedding_backward_scratch(const cpu::Embedding& embedding) {
  const int64_t count = embedding.batch * embedding.length * embedding.bag;
  return 2 * Buffer::align(static_cast<size_t>(count) * sizeof(uint64_t));
}

template <typename T>
void embedding_backward(const Context& context, const cpu::Embedding& embedding, const T* y_grad,
                        float* table_grad, bool accumulate_table, float* position_grad,
                        bool accumulate_positions, int64_t position_capacity, std::byte* scratch) {
  const int64_t count = embedding.batch * embedding.length * embedding.bag;
  if (table_grad != nullptr) {
    auto* keys = reinterpret_cast<uint64_t*>(scratch);
    auto* merged =
        reinterpret_cast<uint64_t*>(scratch + cuda::embedding_backward_scratch(embedding) / 2);
    launch_threads(context, "quern_embedding_keys", count,
                   arguments::EmbeddingKeys{embedding, keys});
    for (int64_t run = 1; run < count; run *= 2) {
      launch_threads(context, "quern_merge_runs", count,
                     arguments::MergeRuns{keys, merged, count, run});
      std::swap(keys, merged);
    }
    launch_blocks(
        context, name_of<T>("quern_embedding_table", "quern_embedding_table_bf16"),
        embedding.vocabulary,
        arguments::EmbeddingTable<T>{embedding, keys, y_grad, table_grad, accumulate_table});
  }
  if (position_grad == nullptr) return;
  launch_threads(context, name_of<T>("quern_embedding_positions", "quern_embedding_positions_bf16"),
                 position_capacity * embedding.width,
                 arguments::EmbeddingPositions<T>{embedding, y_grad, position_grad,
                                                  position_capacity, accumulate_positions});
}

#define QUERN_INSTANTIATE(T)                                                                      \
  template void norm_forward(const Context&, const cpu::NormOf<T>&, Written<T>, Written<T>,       \
                             float*);                                                             \
  template void norm_backward(const Context&, const cpu::NormOf<T>&, const float*, Read<T>,       \
                              Read<T>, Written<T>, bool, float*, float*, bool, std::byte*);       \
  template void column_sum(const Context&, Read<T>, int64_t, int64_t, float*, bool, std::byte*);  \
  template void cross_entropy_forward(const Context&, const cpu::CrossEntropyOf<T>&, Scalar,      \
                                      float*, float*, float*, std::byte*);                        \
  template void cross_entropy_both(const Context&, const cpu::CrossEntropyOf<T>&, Scalar, Scalar, \
                                   float*, float*, float*, T*, std::byte*);                       \
  template void cross_entropy_backward(const Context&, const cpu::CrossEntropyOf<T>&,             \
                                       const float*, Scalar, Written<T>, bool);                   \
  template void embedding_forward(const Context&, const cpu::Embedding&, Written<T>);             \
  template void embedding_backward(const Context&, const cpu::Embedding&, Read<T>, float*, bool,  \
                                   float*, bool, int64_t, std::byte*);
QUERN_INSTANTIATE(float)
QUERN_INSTANTIATE(BFloat16)
#undef QUERN_INSTANTIATE

}  // namespace quern::kernels::cuda
