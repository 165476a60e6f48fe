#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quern/graph/op.h"

namespace quern::graph {

/// A light handle to one tensor of a Graph. Default-made, it stands for an absent optional input.
struct Value {
  int32_t id = -1;
  explicit operator bool() const { return id >= 0; }
  bool operator==(const Value&) const = default;
};

enum class ValueKind : uint8_t {
  kComputed,   // by a node; in the activation arena
  kInput,      // written by the caller before each run; in the activation arena, never reused
  kParameter,  // in a ParameterStore
  kGradient,   // of a parameter, in the same store: what the optimizer's graph reads
  kState,      // in a StateStore: stable address, written in place (KV cache, optimizer moments)
  kConstant,   // filled once when the plan is allocated (rope tables, sinusoids)
};

struct ValueInfo {
  ValueKind kind = ValueKind::kComputed;
  TensorType type;
  std::string name;                      // inputs, parameters, states, constants
  int32_t node = -1;                     // producer, for computed values
  int32_t output = 0;                    // which output of the producer
  int32_t parameter = -1;                // index in the ParameterStore
  std::function<void(TensorView)> fill;  // constants
};

/// What an observer may watch in a layer.
enum class Tap : uint8_t { kResidual, kAttention };

struct Node {
  OpCode op;
  Attrs attrs;
  std::vector<Value> inputs;
  std::vector<Value> outputs;
  int32_t layer = -1;  // for messages and taps
};

struct TapPoint {
  int32_t layer;
  Tap tap;
  Value value;   // kResidual: (B,T,C)
  int32_t node;  // kAttention: the attention node
};

/// A model, written once: nodes in the order they run. Shapes and dtypes are known when a node is
/// added.
class Graph {
 public:
  /// Throws Error on a second input of that name. A parameter, state or constant asked for again is
  /// the same value (tied weights, shared tables); ShapeError when it is asked for with another
  /// type. But a parameter may be read both in F32 and in BF16, as the store's copy of it; its
  /// gradient is the sum of both, in F32.
  Value input(std::string_view name, TensorType type);
  Value parameter(std::string_view name, int32_t index, TensorType type);
  /// The gradient of one parameter, or with index -1 the whole gradient arena (arena_floats()).
  Value gradient(std::string_view name, int32_t index, TensorType type);
  Value state(std::string_view name, TensorType type);
  Value constant(std::string_view name, TensorType type, std::function<void(TensorView)> fill);

  /// Adds a node, infers its outputs, returns output 0 (absent for a node without outputs). Throws
  /// ShapeError naming op, layer, shapes and the rule.
  Value add(OpCode op, const Attrs& attrs, std::span<const Value> inputs);
  Value output_of(Value first, int index) const;  // another output of the node that made `first`

  /// Named results: kept until the run ends and readable by name.
  void name_output(std::string_view name, Value value);
  void tap(Tap tap, Value value);
  void set_layer(int32_t layer) { layer_ = layer; }

  const ValueInfo& info(Value value) const { return values_.at(static_cast<size_t>(value.id)); }
  const TensorType& type(Value value) const { return info(value).type; }
  const Shape& shape(Value value) const { return info(value).type.shape; }
  std::span<const ValueInfo> values() const { return values_; }
  std::span<const Node> nodes() const { return nodes_; }
  std::span<const TapPoint> taps() const { return taps_; }
  std::span<const std::pair<std::string, Value>> outputs() const { return outputs_; }
  /// Throws Error naming the known ones.
  Value output(std::string_view name) const;
  Value input(std::string_view name) const;

  /// Floating-point operations of one forward run (matrix products, attention).
  double flops() const;

 private:
  Value add_value(ValueInfo info);
  Value find(ValueKind kind, std::string_view name, const TensorType& type) const;

  std::vector<ValueInfo> values_;
  std::vector<Node> nodes_;
  std::vector<TapPoint> taps_;
  std::vector<std::pair<std::string, Value>> outputs_;
  int32_t layer_ = -1;
};

// The ops as functions; absent optional inputs are Value{}.
Value embedding(Graph& graph, Value ids, Value table, Value positions, Value offsets, float scale,
                DType dtype = DType::kF32);
Value linear(Graph& graph, Value x, Value weight, Value bias = {}, Value residual = {},
             Activation activation = Activation::kNone);
/// x Wᵀ + b in F32, of x and W in F32 or BF16.
Value widened_linear(Graph& graph, Value x, Value weight, Value bias = {});
struct NormOutputs {
  Value y, sum;
};
NormOutputs norm(Graph& graph, Value x, Value residual, Value weight, Value bias, NormAttrs attrs);
Value rope(Graph& graph, Value qkv, Value table, Value offsets, HeadsAttrs attrs);
struct AttentionInputs {
  Value qkv, k_cache, v_cache, lengths, segments, alibi_slopes, random;
};
Value attention(Graph& graph, const AttentionInputs& inputs, AttentionAttrs attrs);
void cache_write(Graph& graph, Value qkv, Value k_cache, Value v_cache, Value offsets,
                 HeadsAttrs attrs);
Value activation(Graph& graph, Value x, Activation activation);
Value gated_unit(Graph& graph, Value x, Activation activation);
Value add(Graph& graph, Value a, Value b, float scale = 1);
Value multiply(Graph& graph, Value a, Value b);
Value scale(Graph& graph, Value x, float factor);
Value dropout(Graph& graph, Value x, Value random, Value residual, DropoutAttrs attrs);
struct CrossEntropyOutputs {
  Value loss, nll;
};
/// row_weight may be absent.
CrossEntropyOutputs cross_entropy(Graph& graph, Value logits, Value targets, Value weight,
                                  Value row_weight = {}, float label_smoothing = 0);
struct SquaredErrorOutputs {
  Value loss, error;
};
SquaredErrorOutputs squared_error(Graph& graph, Value predictions, Value targets, Value weight,
                                  Value row_weight = {});
Value grouped_linear(Graph& graph, Value x, Value weight, Value bias = {});
Value member_scale(Graph& graph, Value x, Value scale);
Value reshape(Graph& graph, Value x, Shape shape);
Value softmax(Graph& graph, Value x);
Value slice(Graph& graph, Value x, int64_t axis, int64_t begin, int64_t end);
Value concat(Graph& graph, Value a, Value b, int64_t axis);
Value gather_rows(Graph& graph, Value x, Value rows);
Value reduce(Graph& graph, Value x, Value lengths, bool mean);
Value unfold(Graph& graph, Value x, WindowAttrs attrs);
Value convolve(Graph& graph, Value x, Value weight, WindowAttrs attrs);
Value max_pool(Graph& graph, Value x, WindowAttrs attrs);
/// lengths may be absent.
Value pool(Graph& graph, Value x, Value scores, Value lengths);
/// x itself where it has that type.
Value cast(Graph& graph, Value x, DType dtype);
Value gradient_norm(Graph& graph, Value gradients);
/// The optimizer's steps write parameter and moments in place; `norm` may be absent.
void adamw(Graph& graph, Value parameter, Value gradient, Value m, Value v, Value hyper, Value norm,
           OptimizerAttrs attrs);
void muon(Graph& graph, Value parameter, Value gradient, Value momentum, Value hyper, Value norm,
          OptimizerAttrs attrs);
void ema(Graph& graph, Value parameter, Value shadow, Value hyper);

}  // namespace quern::graph
