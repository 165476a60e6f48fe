#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "quern/kernels/bfloat16.h"
#include "quern/kernels/cpu/attention.h"
#include "quern/kernels/cpu/elementwise.h"
#include "quern/kernels/cpu/embedding.h"
#include "quern/kernels/cpu/gemm.h"
#include "quern/kernels/cpu/loss.h"
#include "quern/kernels/cpu/movement.h"
#include "quern/kernels/cpu/norm.h"
#include "quern/kernels/cpu/optimizer.h"
#include "quern/kernels/cpu/window.h"
#include "quern/kernels/cuda/context.h"
#include "quern/kernels/optimizer_step.h"
#include "quern/kernels/quantized.h"
#include "quern/kernels/scalar.h"

// The kernels of cpu/ on a CUDA device: the same names, arguments and promises, over the device's
// pointers. A call returns when the work is queued. Numbers that stand in tensors are read there.
// T is float or BFloat16: what activations are stored as; sums are float32 in both.
namespace quern::kernels::cuda {

template <typename T>
void activation_forward(const Context& context, Activation activation, const T* x, int64_t count,
                        T* y);
template <typename T>
void activation_backward(const Context& context, Activation activation, const T* x, const T* y_grad,
                         int64_t count, T* x_grad, bool accumulate);
template <typename T>
void gated_unit_forward(const Context& context, Activation activation, const T* x, int64_t rows,
                        int64_t width, T* y);
template <typename T>
void gated_unit_backward(const Context& context, Activation activation, const T* x, const T* y_grad,
                         int64_t rows, int64_t width, T* x_grad, bool accumulate);
template <typename T>
void add(const Context& context, const T* a, const T* b, int64_t count, int64_t period, float scale,
         T* c);
void multiply(const Context& context, const float* a, const float* b, int64_t count, int64_t period,
              float* c);
void multiply_into(const Context& context, const float* a, const float* b, int64_t count,
                   int64_t period, float* c, bool accumulate);
template <typename T>
void scale(const Context& context, const T* x, int64_t count, float factor, T* y, bool accumulate);
template <typename T>
void dropout(const Context& context, const cpu::Dropout& dropout, const T* x,
             const std::type_identity_t<T>* residual, T* y, bool accumulate);
template <typename T>
void rope(const Context& context, const cpu::Rope& rope, const T* x, T* y, bool accumulate);

void copy_blocks(const Context& context, const std::byte* from, size_t from_stride, std::byte* to,
                 size_t to_stride, int64_t blocks, size_t block_bytes);
void add_blocks(const Context& context, const float* from, int64_t from_stride, float* to,
                int64_t to_stride, int64_t blocks, int64_t width);
void fill_zero(const Context& context, float* x, int64_t count);
void member_scale(const Context& context, const cpu::MemberScale& shape, const float* x,
                  const float* scale, float* y);
void member_scale_backward(const Context& context, const cpu::MemberScale& shape, const float* x,
                           const float* scale, const float* y_grad, float* x_grad,
                           bool accumulate_x, float* scale_grad, bool accumulate_scale);
/// A row outside its sequence leaves kGatherFault.
template <typename T>
void gather_rows(const Context& context, const cpu::Gather& gather, const T* x, T* y);
template <typename T>
void gather_rows_backward(const Context& context, const cpu::Gather& gather, const T* y_grad,
                          T* x_grad, bool accumulate);
void reduce(const Context& context, const cpu::Reduce& reduce, const float* x, float* y);
void reduce_backward(const Context& context, const cpu::Reduce& reduce, const float* y_grad,
                     float* x_grad, bool accumulate);
/// A row that does not fit leaves kCacheFault.
template <typename T>
void cache_write(const Context& context, const cpu::CacheWriteOf<T>& write);
void cast(const Context& context, const void* from, DType from_dtype, void* to, DType to_dtype,
          int64_t count, bool accumulate);

/// to = from, to nearest or, with `random` (4: seed low, seed high, step, …), up or down so that
/// the mean is `from`: element i adds bits 16 (i % 2) … of word i / 2 % 4 of the Philox block i / 8
/// to its lower half, which is then cut off.
void narrow(const Context& context, const float* from, int64_t count, const uint32_t* random,
            BFloat16* to);

void unfold(const Context& context, const cpu::Windows& windows, const float* x, float* y);
void unfold_backward(const Context& context, const cpu::Windows& windows, const float* y_grad,
                     float* x_grad, bool accumulate);
/// Windows of a few pictures at a time are laid out in the scratch and multiplied there.
size_t convolve_scratch(const cpu::Windows& windows, int64_t outputs);
void convolve(const Context& context, const cpu::Windows& windows, int64_t outputs, const float* x,
              const float* weight, float* y, std::byte* scratch);
size_t convolve_backward_scratch(const cpu::Windows& windows, int64_t outputs);
void convolve_backward(const Context& context, const cpu::Windows& windows, int64_t outputs,
                       const float* weight, const float* y_grad, float* x_grad, bool accumulate,
                       std::byte* scratch);
size_t convolve_weight_scratch(const cpu::Windows& windows, int64_t outputs);
void convolve_weight_backward(const Context& context, const cpu::Windows& windows, int64_t outputs,
                              const float* x, const float* y_grad, float* weight_grad,
                              bool accumulate, std::byte* scratch);
void max_pool(const Context& context, const cpu::Windows& windows, bool relu, const float* x,
              float* y, uint8_t* chosen);
void max_pool_backward(const Context& context, const cpu::Windows& windows, const uint8_t* chosen,
                       const float* y_grad, float* x_grad, bool accumulate);
void pool(const Context& context, const cpu::Pool& pool, const float* x, const float* scores,
          float* y);
void pool_backward(const Context& context, const cpu::Pool& pool, const float* x,
                   const float* scores, const float* y_grad, float* x_grad, bool accumulate_x,
                   float* scores_grad, bool accumulate_scores);

/// An id past the vocabulary leaves kEmbeddingFault.
template <typename T>
void embedding_forward(const Context& context, const cpu::Embedding& embedding, T* y);
size_t embedding_backward_scratch(const cpu::Embedding& embedding);
template <typename T>
void embedding_backward(const Context& context, const cpu::Embedding& embedding, const T* y_grad,
                        float* table_grad, bool accumulate_table, float* position_grad,
                        bool accumulate_positions, int64_t position_capacity, std::byte* scratch);

template <typename T>
void norm_forward(const Context& context, const cpu::NormOf<T>& norm, T* y, T* sum,
                  float* statistics);
size_t norm_backward_scratch(int64_t rows, int64_t width);
template <typename T>
void norm_backward(const Context& context, const cpu::NormOf<T>& norm, const float* statistics,
                   const T* y_grad, const std::type_identity_t<T>* sum_grad,
                   std::type_identity_t<T>* x_grad, bool accumulate_x, float* weight_grad,
                   float* bias_grad, bool accumulate_parameters, std::byte* scratch);

size_t cross_entropy_forward_scratch(int64_t rows);
template <typename T>
void cross_entropy_forward(const Context& context, const cpu::CrossEntropyOf<T>& cross_entropy,
                           Scalar weight, float* nll, float* lse, float* loss, std::byte* scratch);
template <typename T>
void cross_entropy_backward(const Context& context, const cpu::CrossEntropyOf<T>& cross_entropy,
                            const float* lse, Scalar weight, T* logits_grad, bool accumulate);
size_t cross_entropy_both_scratch(int64_t rows);
template <typename T>
void cross_entropy_both(const Context& context, const cpu::CrossEntropyOf<T>& cross_entropy,
                        Scalar weight, Scalar gradient_weight, float* nll, float* lse, float* loss,
                        T* logits_grad, std::byte* scratch);
size_t squared_error_scratch(int64_t count);
void squared_error_forward(const Context& context, const cpu::SquaredError& squared_error,
                           Scalar weight, float* errors, float* loss, std::byte* scratch);
void squared_error_backward(const Context& context, const cpu::SquaredError& squared_error,
                            Scalar weight, float* grad, bool accumulate);
void softmax(const Context& context, const float* x, int64_t rows, int64_t classes, float* y);
void softmax_backward(const Context& context, const float* y, const float* y_grad, int64_t rows,
                      int64_t classes, float* x_grad, bool accumulate);

template <typename In, typename Out>
size_t gemm_scratch(const cpu::GemmOf<In, Out>& gemm);
/// By cuBLASLt where there is one, with what it can of the epilogue; by own kernels for up to eight
/// rows and where there is none.
template <typename In, typename Out>
void gemm(const Context& context, const cpu::GemmOf<In, Out>& gemm, std::byte* scratch);
/// C = epilogue(A (m,k) · Wᵀ [+ C]) with W (n,k) = weight; `gemm.b` is not read. Up to eight rows
/// by a kernel that reads each weight once, as it is; more by gemm() over weights made of type In
/// in the scratch, in parts of the columns of C where there are many. In and Out are those of
/// gemm().
template <typename In, typename Out>
void quantized_gemm(const Context& context, const cpu::GemmOf<In, Out>& gemm,
                    const QuantizedMatrix& weight, std::byte* scratch);
/// Enough for any types, of the shape alone; the larger of 64 MiB and 64 rows of W at most.
size_t quantized_gemm_scratch(const cpu::GemmOf<float>& shape);
/// out (rows, columns), aligned to 16 bytes: those rows of the weight.
template <typename T>
void dequantize(const Context& context, const QuantizedMatrix& weight, int64_t first_row,
                int64_t rows, T* out);
size_t column_sum_scratch(int64_t m, int64_t n);
template <typename T>
void column_sum(const Context& context, const T* x, int64_t m, int64_t n, float* out,
                bool accumulate, std::byte* scratch);

/// A linear layer's gradients of weight (m,n), a product whose A is transposed, and of bias (m),
/// the column sums of A, which may be null: in one pass where cuBLASLt can. Scratch: the larger of
/// both.
template <typename T>
void weight_gradient(const Context& context, const cpu::GemmOf<T, float>& gemm, float* bias_grad,
                     bool accumulate_bias, std::byte* scratch);

size_t sum_of_squares_scratch(int64_t count);
/// norm (1) = √Σ x².
void gradient_norm(const Context& context, const float* x, int64_t count, float* norm,
                   std::byte* scratch);
void adamw(const Context& context, const OptimizerStep& step, float weight_decay, int64_t count,
           const float* gradient, float* parameter, float* m, float* v);
void ema(const Context& context, Scalar decay, int64_t count, const float* parameter,
         float* shadow);
size_t muon_scratch(int64_t rows, int64_t columns);
void muon(const Context& context, const OptimizerStep& step, float weight_decay, int64_t rows,
          int64_t columns, const float* gradient, float* parameter, float* momentum,
          std::byte* scratch);

template <typename T>
size_t attention_forward_scratch(const cpu::AttentionOf<T>& attention);
template <typename T>
void attention_forward(const Context& context, const cpu::AttentionOf<T>& attention, T* out,
                       float* lse, std::byte* scratch);
template <typename T>
size_t attention_backward_scratch(const cpu::AttentionOf<T>& attention);
template <typename T>
void attention_backward(const Context& context, const cpu::AttentionOf<T>& attention, const T* out,
                        const float* lse, const T* out_grad, T* q_grad, T* k_grad, T* v_grad,
                        std::byte* scratch);

}  // namespace quern::kernels::cuda
