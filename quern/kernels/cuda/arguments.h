#pragma once

#include <cstddef>
#include <cstdint>

#include "quern/kernels/activation.h"
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
#include "quern/kernels/scalar.h"

// The one argument of each kernel: copied to the device at the launch. All pointers are the
// device's.
namespace quern::kernels::cuda::arguments {

struct Activation {
  kernels::Activation activation;
  const float* x;
  const float* y_grad;  // backward
  int64_t count;        // of y
  int64_t width;        // gated unit: columns of y
  float* y;             // in backward x_grad
  bool accumulate;
};
struct Binary {
  const float* a;
  const float* b;
  int64_t count, period;
  float factor;
  float* c;
  bool accumulate;
};
struct Scale {
  const float* x;
  int64_t count;
  float factor;
  float* y;
  bool accumulate;
};
struct Dropout {
  cpu::Dropout dropout;
  uint32_t threshold;
  const float* x;
  const float* residual;
  float* y;
  bool accumulate;
};
struct Rope {
  cpu::Rope rope;
  const float* x;
  float* y;
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
struct Gather {
  cpu::Gather gather;
  const float* x;  // in backward y_grad
  float* y;
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
struct CacheWrite {
  cpu::CacheWrite write;
  uint32_t* fault;
};
struct Cast {
  const void* from;
  void* to;
  DType from_dtype, to_dtype;
  int64_t count;
  bool accumulate;
};

struct Embedding {
  cpu::Embedding embedding;
  float* y;
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
struct EmbeddingTable {
  cpu::Embedding embedding;
  const uint64_t* keys;
  const float* y_grad;
  float* grad;
  bool accumulate;
};
struct EmbeddingPositions {
  cpu::Embedding embedding;
  const float* y_grad;
  float* grad;
  int64_t capacity;
  bool accumulate;
};

struct Norm {
  cpu::Norm norm;
  float* y;
  float* sum;
  float* statistics;
};
struct NormBackward {
  cpu::Norm norm;
  const float* statistics;
  const float* y_grad;
  const float* sum_grad;
  float* x_grad;
  bool accumulate;
};
struct NormParameters {
  cpu::Norm norm;
  const float* statistics;
  const float* y_grad;
  int64_t rows_each;
  float* weight_parts;  // (parts, width) or null
  float* bias_parts;
};
struct ColumnParts {
  const float* x;
  int64_t rows, width, rows_each;
  float* parts;  // (parts, width)
};
struct ColumnSum {
  const float* parts;
  int64_t count, width;
  float* out;
  bool accumulate;
};

struct CrossEntropy {
  cpu::CrossEntropy loss;
  float* nll;
  float* lse;
  float* row_losses;
};
struct CrossEntropyBackward {
  cpu::CrossEntropy loss;
  const float* lse;
  Scalar weight;
  float* grad;
  bool accumulate;
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

struct Gemm {
  cpu::Gemm gemm;
};
/// What the vendor's product leaves to a pass of its own: bias, activation, residual.
struct GemmEpilogue {
  cpu::Gemm gemm;
};

struct Attention {
  cpu::Attention attention;
  uint32_t threshold;
  float* out;
  float* lse;
};
struct AttentionBackward {
  cpu::Attention attention;
  uint32_t threshold;
  const float* out;
  const float* lse;
  const float* out_grad;
  float* delta;  // (B,H,T): Σ out · out_grad
  float *q_grad, *k_grad, *v_grad;
};

}  // namespace quern::kernels::cuda::arguments
