#pragma once

#include <cstddef>
#include <cstdint>

#include "quern/kernels/activation.h"
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
#include "quern/kernels/optimizer_step.h"
#include "quern/kernels/quantized.h"
#include "quern/kernels/scalar.h"

// The one argument of each kernel: copied to the device at the launch. All pointers are the
// device's. T is what activations are stored as, float or BFloat16.
namespace quern::kernels::cuda::arguments {

template <typename T>
struct Activation {
  kernels::Activation activation;
  const T* x;
  const T* y_grad;  // backward
  int64_t count;    // of y
  int64_t width;    // gated unit: columns of y
  T* y;             // in backward x_grad
  bool accumulate;
};
template <typename T>
struct Binary {
  const T* a;
  const T* b;
  int64_t count, period;
  float factor;
  T* c;
  bool accumulate;
};
template <typename T>
struct Scale {
  const T* x;
  int64_t count;
  float factor;
  T* y;
  bool accumulate;
};
template <typename T>
struct Dropout {
  cpu::Dropout dropout;
  uint32_t threshold;
  const T* x;
  const T* residual;
  T* y;
  bool accumulate;
};
template <typename T>
struct Rope {
  cpu::Rope rope;
  const T* x;
  T* y;
  bool accumulate;
};

struct Blocks {
  const std::byte* from;
  int64_t from_stride;
  std::byte* to;
  int64_t to_stride;
  int64_t blocks, width;  // of words, or of bytes
  bool add;
};
struct MemberScale {
  cpu::MemberScale shape;
  const float* x;
  const float* scale;
  const float* y_grad;
  float* y;  // in backward x_grad
  float* scale_grad;
  bool accumulate, accumulate_scale;
};
template <typename T>
struct Gather {
  cpu::Gather gather;
  const T* x;  // in backward y_grad
  T* y;
  bool accumulate;
  uint32_t* fault;
};
struct Reduce {
  cpu::Reduce reduce;
  const float* x;
  float* y;
  bool accumulate;
};
struct Window {
  cpu::Windows windows;
  int64_t rows, columns;
  const float* x;
  const float* y_grad;
  float* y;  // in backward x_grad
  bool accumulate;
};
struct MaxPool {
  Window window;
  bool relu;
  const uint8_t* chosen;  // read by backward
  uint8_t* chooses;       // written by forward
};
struct Pool {
  cpu::Pool pool;
  const float* x;
  const float* scores;
  const float* y_grad;
  float* y;  // in backward x_grad
  float* scores_grad;
  bool accumulate, accumulate_scores;
};
template <typename T>
struct CacheWrite {
  cpu::CacheWriteOf<T> write;
  uint32_t* fault;
};
struct Narrow {
  const float* from;
  BFloat16* to;
  int64_t count;
  const uint32_t* random;  // null: to nearest
};
struct Cast {
  const void* from;
  void* to;
  DType from_dtype, to_dtype;
  int64_t count;
  bool accumulate;
};

template <typename T>
struct Embedding {
  cpu::Embedding embedding;
  T* y;
  uint32_t* fault;
};
struct EmbeddingKeys {
  cpu::Embedding embedding;
  uint64_t* keys;  // id in the high word, row in the low one
};
struct MergeRuns {
  const uint64_t* from;
  uint64_t* to;
  int64_t count, run;
};
template <typename T>
struct EmbeddingTable {
  cpu::Embedding embedding;
  const uint64_t* keys;
  const T* y_grad;
  float* grad;
  bool accumulate;
};
template <typename T>
struct EmbeddingPositions {
  cpu::Embedding embedding;
  const T* y_grad;
  float* grad;
  int64_t capacity;
  bool accumulate;
};

template <typename T>
struct Norm {
  cpu::NormOf<T> norm;
  T* y;
  T* sum;
  float* statistics;
};
template <typename T>
struct NormBackward {
  cpu::NormOf<T> norm;
  const float* statistics;
  const T* y_grad;
  const T* sum_grad;
  T* x_grad;
  bool accumulate;
};
template <typename T>
struct NormParameters {
  cpu::NormOf<T> norm;
  const float* statistics;
  const T* y_grad;
  int64_t rows_each;
  float* weight_parts;  // (parts, width) or null
  float* bias_parts;
};
template <typename T>
struct ColumnParts {
  const T* x;
  int64_t rows, width, rows_each;
  float* parts;  // (parts, width)
};
struct ColumnSum {
  const float* parts;
  int64_t count, width;
  float* out;
  bool accumulate;
};

template <typename T>
struct CrossEntropy {
  cpu::CrossEntropyOf<T> loss;
  float* nll;
  float* lse;
  float* row_losses;
};
template <typename T>
struct CrossEntropyBackward {
  cpu::CrossEntropyOf<T> loss;
  const float* lse;
  Scalar weight;
  T* grad;
  bool accumulate;
};
template <typename T>
struct CrossEntropyBoth {
  CrossEntropy<T> forward;
  Scalar weight;
  T* grad;
};
struct SquaredError {
  cpu::SquaredError error;
  float* errors;
  float* parts;
};
struct SquaredErrorBackward {
  cpu::SquaredError error;
  Scalar weight;
  float* grad;
  bool accumulate;
};
struct WeightedTotal {
  const float* parts;
  int64_t count;
  Scalar weight;
  float* out;
};
struct Softmax {
  const float* x;  // in backward y
  const float* y_grad;
  int64_t rows, classes;
  float* y;
  bool accumulate;
};

struct SumOfSquares {
  const float* x;
  int64_t count;
  double* parts;
};
struct Root {
  const double* parts;
  int64_t count;
  float* out;
};
struct AdamW {
  OptimizerStep step;
  float weight_decay;
  int64_t count;
  const float* gradient;
  float* parameter;
  float* m;
  float* v;
};
struct Ema {
  const float* decay;
  int64_t count;
  const float* parameter;
  float* shadow;
};
struct MuonMomentum {
  OptimizerStep step;
  int64_t count;
  const float* gradient;
  float* momentum;
  float* x;
};
struct MuonNormalise {
  const float* norm;
  int64_t count;
  float* x;
};
struct MuonPolynomial {
  float a, b, c;
  int64_t side;
  const float* gram;
  float* square;
};
struct MuonUpdate {
  OptimizerStep step;
  float weight_decay;
  int64_t rows, columns;
  const float* x;
  float* parameter;
};

/// One chunk of the gradient, of all ranks: this one's in place, the others' one after the other.
struct TreeAdd {
  float* own;
  float* incoming;  // (ranks - 1, stride)
  int64_t stride, count;
  int32_t rank, ranks;
};
struct UnitSquares {
  const float* x;
  const int64_t* bounds;  // (units + 1), rising
  int64_t units;
  double* squares;  // (units)
};

/// In the kernel of the epilogue, what the vendor's product leaves to a pass of its own.
template <typename In, typename Out>
struct Gemm {
  cpu::GemmOf<In, Out> gemm;
};

/// Up to eight rows times quantised weights.
template <typename In, typename Out>
struct QuantizedGemm {
  static constexpr int32_t kRowsEach = 4;    // of the weight, a warp
  static constexpr int32_t kLoadBytes = 16;  // of a row's q, a lane

  cpu::GemmOf<In, Out> gemm;
  QuantizedMatrix weight;
  int32_t split;   // warps that share a row; a power of two
  int32_t staged;  // loads whose part of A stands in shared memory at a time: 32 split, or so often
};
template <typename T>
struct Dequantize {
  QuantizedMatrix weight;
  int64_t first_row, rows;
  T* out;
};

template <typename T>
struct Attention {
  cpu::AttentionOf<T> attention;
  uint32_t threshold;
  T* out;
  float* lse;
};
/// Attention of few queries over many keys: each part of the keys leaves what it has of every
/// query.
struct AttentionSplit {
  cpu::AttentionOf<BFloat16> attention;
  uint32_t threshold;
  int64_t parts;   // of the keys: blocks; each leaves four shares
  float* sums;     // (B,H,T, 4 parts, head_dim): values by exp2(score - most)
  float* softmax;  // (B,H,T, 4 parts, 2): the largest score times log2(e), the sum of exponentials
  BFloat16* out;
  float* lse;
};
template <typename T>
struct AttentionBackward {
  cpu::AttentionOf<T> attention;
  uint32_t threshold;
  const T* out;
  const float* lse;
  const T* out_grad;
  float* delta;  // (B,H,T): Σ out · out_grad
  T *q_grad, *k_grad, *v_grad;
};

}  // namespace quern::kernels::cuda::arguments
