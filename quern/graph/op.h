#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "quern/kernels/activation.h"
#include "quern/kernels/cpu/context.h"
#include "quern/kernels/cuda/context.h"
#include "quern/kernels/optimizer_step.h"
#include "quern/tensor/tensor.h"

namespace quern::graph {

using kernels::Activation;

/// One entry a coarse, fused op. The inputs of each stand beside it; [x] may be absent.
enum class OpCode : uint8_t {
  kEmbedding,  // ids (B,T) or (B,T,G) i32, table (V,C), [positions (S,C)], [offsets (B) i32] ->
               // (B,T,C)
  kLinear,  // x (…,K), weight (N,K), [bias (N)], [residual (…,N)] -> y (…,N), pre_activation (…,N)
  kNorm,  // x (…,C), [residual (…,C)], [weight (C)], [bias (C)] -> y (…,C), sum (…,C), statistics
          // (rows,2)
  kRope,        // qkv (B,T,(H+2K)D), table (S,D), [offsets (B) i32] -> qkv
  kAttention,   // qkv (B,T,(H+2K)D), [k_cache (B,K,S,D)], [v_cache], [lengths (B) i32], [segments
                // (B,T) i32], [alibi slopes (H)], [random (4) u32] -> out (B,T,HD), log_sum_exp
                // (B,H,T)
  kCacheWrite,  // qkv (B,T,(H+2K)D), k_cache (B,K,S,D), v_cache, offsets (B) i32 -> nothing;
                // stateful
  kActivation,  // x -> y
  kGroupedLinear,  // x (B,G,K), weight (G,N,K), [bias (G,N)] -> (B,G,N): a layer of its own for
                   // each g
  kMemberScale,    // x (B,F), scale (K,F) -> (B,K,F): x times each row of scale
  kReshape,        // x -> the same elements in another shape
  kGatedUnit,      // x (…,2F) -> (…,F)
  kAdd,            // a, b (same shape, or the trailing extents of a) -> a + scale·b
  kMultiply,       // a, b -> a·b
  kScale,          // x -> factor·x
  kDropout,        // x (B,…), random (4) u32, [residual] -> residual + dropout(x)
  kCrossEntropy,  // logits (…,V), targets (…) i32, weight (1), [row_weight (…)] -> loss (1), nll
                  // (…), log_sum_exp (…)
  kSquaredError,  // predictions (…), targets (…), weight (1), [row_weight (…)] -> loss (1), error
                  // (…)
  kSoftmax,     // x (…,V) -> probabilities
  kSlice,       // x -> x[…, begin:end, …] along an axis
  kConcat,      // a, b -> joined along an axis
  kGatherRows,  // x (B,T,C), rows (B) i32 -> (B,C): one position of each sequence
  kReduce,      // x (B,T,C), [lengths (B) i32] -> (B,C): mean or sum over valid T
  kUnfold,      // x (B,H,W,C) -> (B,R,S,k·k·C): each window's pixels in a line
  kConvolve,    // x (B,H,W,C), weight (N,k·k·C) -> (B,R,S,N): each window times the weight
  kMaxPool,     // x (B,H,W,C) -> (B,R,S,C): the largest of each window, chosen (B,R,S,C) u8
  kPool,        // x (B,T,C), scores (B,T), [lengths (B) i32] -> (B,C): positions weighed by the
                // softmax of their scores
  kCast,        // x -> x in another dtype
  // Steps of the optimizer: stateful, over whole groups of parameters.
  kGradientNorm,  // gradients (P) -> norm (1)
  kAdamW,         // parameter, gradient, m, v, hyper (8), [norm (1)] -> nothing
  kMuon,          // parameter (R,C), gradient, momentum, hyper (8), [norm (1)] -> nothing
  kEma,           // parameter, shadow, hyper (8) -> nothing
  kCount,
};

enum class OpKind : uint8_t { kDifferentiable, kStateful, kData };

struct EmbeddingAttrs {
  float scale = 1;
  DType dtype = DType::kF32;  // of the result, F32 or BF16
};
struct LinearAttrs {
  Activation activation = Activation::kNone;
  bool widen = false;  // of x in BF16: bias, residual and y are F32
};
struct NormAttrs {
  bool rms = false;
  float epsilon = 1e-5F;
};
struct HeadsAttrs {  // kRope, kCacheWrite
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
};
struct AttentionAttrs {
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
  bool causal = true;
  int64_t window = 0;
  float scale = 1;
  float dropout = 0;
  uint32_t layer = 0;
};
struct ActivationAttrs {  // kActivation, kGatedUnit
  Activation activation = Activation::kNone;
};
struct ScaleAttrs {  // kAdd, kScale
  float factor = 1;
};
struct DropoutAttrs {
  float rate = 0;
  bool per_sample = false;  // drop path
  uint32_t stream = 0, layer = 0;
};
struct CrossEntropyAttrs {
  float label_smoothing = 0;
};
struct AxisAttrs {  // kSlice (axis, begin, end), kConcat (axis)
  int64_t axis = 0, begin = 0, end = 0;
};
struct ReduceAttrs {
  bool mean = true;
};
struct WindowAttrs {  // kUnfold, kConvolve, kMaxPool
  int64_t kernel = 1, stride = 1, padding = 0;
  bool relu = false;  // kMaxPool: of what is above 0
};
struct ReshapeAttrs {
  Shape shape;
};
struct CastAttrs {
  DType dtype = DType::kF32;
};
struct OptimizerAttrs {  // kAdamW, kMuon, kEma: factors on the hyper-parameters of this group
  float learning_rate_scale = 1;
  float weight_decay = 0;
  float momentum = 0.95F;  // kMuon
  bool nesterov = true;    // kMuon
};
using Attrs =
    std::variant<std::monostate, EmbeddingAttrs, LinearAttrs, NormAttrs, HeadsAttrs, AttentionAttrs,
                 ActivationAttrs, ScaleAttrs, DropoutAttrs, CrossEntropyAttrs, AxisAttrs,
                 ReduceAttrs, WindowAttrs, ReshapeAttrs, CastAttrs, OptimizerAttrs>;

using enum kernels::Hyper;  // indices into `hyper` (8), what changes between the optimizer's steps

/// One run of one kernel, over raw buffers laid out by the planner.
///
/// Outputs nobody reads have null data and are not computed. In backward only what `saved` names is
/// there: the data of every other input and output is null, its type is not. A backward kernel may
/// overwrite output_grads (each dies in its step) and handles input_grads in the order of the
/// inputs, because two inputs may be the same value.
struct KernelCall {
  const Attrs* attrs = nullptr;
  std::span<const TensorView> inputs;
  std::span<const TensorView> outputs;
  // Backward only. output_grads[i] is null where nothing flows back; input_grads[i] where nothing
  // is wanted.
  std::span<const TensorView> output_grads;
  std::span<const TensorView> input_grads;
  std::span<const bool> accumulate;  // per input: add to input_grads[i] rather than overwrite
  std::byte* scratch = nullptr;
  const kernels::cpu::Context* context = nullptr;
  const kernels::cuda::Context* cuda = nullptr;  // where the buffers are a CUDA device's
};

/// Which of an op's inputs and outputs its backward reads: bit i, input i; they live on until then.
struct Saved {
  uint32_t inputs = 0, outputs = 0;
};

/// The gradient of `input` may take the buffer of the gradient of `output`, because backward writes
/// it element by element or passes it through; -1: none.
struct GradientAlias {
  int input = -1, output = 0;
};

using Types = std::vector<TensorType>;
inline constexpr size_t kMaxInputs = 7;
inline constexpr size_t kMaxOutputs = 3;

/// An op's kernels on a device other than the processor, and the scratch that they need (null:
/// none).
struct DeviceKernels {
  size_t (*forward_scratch)(const Attrs&, std::span<const TensorType> inputs) = nullptr;
  size_t (*backward_scratch)(const Attrs&, std::span<const TensorType> inputs) = nullptr;
  void (*forward)(const KernelCall&) = nullptr;
  void (*backward)(const KernelCall&) = nullptr;
  size_t (*forward_backward_scratch)(const Attrs&, std::span<const TensorType> inputs) = nullptr;
  void (*forward_backward)(const KernelCall&) = nullptr;
};

struct OpEntry {
  OpCode code = OpCode::kCount;
  std::string_view name;
  OpKind kind = OpKind::kDifferentiable;
  std::array<std::string_view, kMaxInputs> input_names{};
  uint32_t required_inputs = 0;  // bit mask
  /// Inputs that may be BF16 instead of F32, one as all that are present; a mask. On CUDA alone:
  /// the other columns take F32.
  uint32_t activations = 0;
  size_t max_inputs = 0;
  /// Output types from input types (an absent input has rank 0 and dtype kBool). Throws ShapeError.
  Types (*infer)(const Attrs&, std::span<const TensorType>) = nullptr;
  Saved (*saved)(const Attrs&, uint32_t inputs_present) = nullptr;
  /// Bytes needed while forward or backward runs.
  size_t (*forward_scratch)(const Attrs&, std::span<const TensorType> inputs) = nullptr;
  size_t (*backward_scratch)(const Attrs&, std::span<const TensorType> inputs) = nullptr;
  void (*forward)(const KernelCall&) = nullptr;
  void (*backward)(const KernelCall&) = nullptr;  // null: not differentiable
  /// Forward and backward at once, of an op that makes the loss: what plans run where nothing comes
  /// between the two. All inputs are there, and of the outputs those that the plan reads; gradients
  /// are overwritten. Null: an op that has no such kernel.
  size_t (*forward_backward_scratch)(const Attrs&, std::span<const TensorType> inputs) = nullptr;
  void (*forward_backward)(const KernelCall&) = nullptr;
  DeviceKernels cuda;
  /// The specification: plain loops in float64, forward and backward.
  void (*reference_forward)(const KernelCall&) = nullptr;
  void (*reference_backward)(const KernelCall&) = nullptr;
  void (*reference_forward_backward)(const KernelCall&) = nullptr;
  /// Floating-point operations of one forward run; matrix products only. Null: none.
  double (*flops)(const Attrs&, std::span<const TensorType> inputs) = nullptr;
  /// Inputs that backward gives a gradient, and outputs it takes one from; masks. A plan refuses a
  /// gradient that would have to pass elsewhere.
  uint32_t (*differentiable_inputs)(const Attrs&, uint32_t inputs_present) = nullptr;
  uint32_t differentiable_outputs = 1;
  /// Inputs whose gradient backward can only overwrite; the plan then adds it in a pass of its own.
  uint32_t overwrites_gradient = 0;
  /// Outputs computed even when nobody reads them; null: output 0.
  uint32_t (*required_outputs)(const Attrs&, uint32_t inputs_present) = nullptr;
  /// Output 0 may take the buffer of this input when the input dies here; -1: never.
  int in_place_input = -1;
  /// The gradient of this input may take the buffer of the input itself (logits); -1: never.
  int in_place_gradient = -1;
  GradientAlias (*gradient_alias)(const Attrs&, uint32_t inputs_present) = nullptr;
};

const OpEntry& op_entry(OpCode code);
std::span<const OpEntry> op_table();

}  // namespace quern::graph
