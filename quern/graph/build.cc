#include <array>

#include "quern/graph/graph.h"

// The ops as functions: each only packs its inputs and attributes into a node.
namespace quern::graph {
namespace {

template <typename... Values>
Value node(Graph& graph, OpCode op, const Attrs& attrs, Values... values) {
  const std::array<Value, sizeof...(values)> inputs{values...};
  return graph.add(op, attrs, inputs);
}

}  // namespace

Value embedding(Graph& graph, Value ids, Value table, Value positions, Value offsets, float scale,
                DType dtype) {
  return node(graph, OpCode::kEmbedding, EmbeddingAttrs{scale, dtype}, ids, table, positions,
              offsets);
}

Value linear(Graph& graph, Value x, Value weight, Value bias, Value residual,
             Activation activation) {
  return node(graph, OpCode::kLinear, LinearAttrs{activation}, x, weight, bias, residual);
}

Value widened_linear(Graph& graph, Value x, Value weight, Value bias) {
  return node(graph, OpCode::kLinear, LinearAttrs{Activation::kNone, true}, x, weight, bias);
}

NormOutputs norm(Graph& graph, Value x, Value residual, Value weight, Value bias, NormAttrs attrs) {
  const Value y = node(graph, OpCode::kNorm, attrs, x, residual, weight, bias);
  return {y, residual ? graph.output_of(y, 1) : x};
}

Value rope(Graph& graph, Value qkv, Value table, Value offsets, HeadsAttrs attrs) {
  return node(graph, OpCode::kRope, attrs, qkv, table, offsets);
}

Value attention(Graph& graph, const AttentionInputs& in, AttentionAttrs attrs) {
  return node(graph, OpCode::kAttention, attrs, in.qkv, in.k_cache, in.v_cache, in.lengths,
              in.segments, in.alibi_slopes, in.random);
}

void cache_write(Graph& graph, Value qkv, Value k_cache, Value v_cache, Value offsets,
                 HeadsAttrs attrs) {
  node(graph, OpCode::kCacheWrite, attrs, qkv, k_cache, v_cache, offsets);
}

Value activation(Graph& graph, Value x, Activation activation) {
  return node(graph, OpCode::kActivation, ActivationAttrs{activation}, x);
}

Value gated_unit(Graph& graph, Value x, Activation activation) {
  return node(graph, OpCode::kGatedUnit, ActivationAttrs{activation}, x);
}

Value add(Graph& graph, Value a, Value b, float scale) {
  return node(graph, OpCode::kAdd, ScaleAttrs{scale}, a, b);
}

Value multiply(Graph& graph, Value a, Value b) {
  return node(graph, OpCode::kMultiply, std::monostate{}, a, b);
}

Value scale(Graph& graph, Value x, float factor) {
  return node(graph, OpCode::kScale, ScaleAttrs{factor}, x);
}

Value dropout(Graph& graph, Value x, Value random, Value residual, DropoutAttrs attrs) {
  return node(graph, OpCode::kDropout, attrs, x, random, residual);
}

CrossEntropyOutputs cross_entropy(Graph& graph, Value logits, Value targets, Value weight,
                                  Value row_weight, float label_smoothing) {
  const Value loss = node(graph, OpCode::kCrossEntropy, CrossEntropyAttrs{label_smoothing}, logits,
                          targets, weight, row_weight);
  return {loss, graph.output_of(loss, 1)};
}

SquaredErrorOutputs squared_error(Graph& graph, Value predictions, Value targets, Value weight,
                                  Value row_weight) {
  const Value loss = node(graph, OpCode::kSquaredError, std::monostate{}, predictions, targets,
                          weight, row_weight);
  return {loss, graph.output_of(loss, 1)};
}

Value grouped_linear(Graph& graph, Value x, Value weight, Value bias) {
  return node(graph, OpCode::kGroupedLinear, std::monostate{}, x, weight, bias);
}

Value member_scale(Graph& graph, Value x, Value scale) {
  return node(graph, OpCode::kMemberScale, std::monostate{}, x, scale);
}

Value reshape(Graph& graph, Value x, Shape shape) {
  return node(graph, OpCode::kReshape, ReshapeAttrs{shape}, x);
}

Value softmax(Graph& graph, Value x) { return node(graph, OpCode::kSoftmax, std::monostate{}, x); }

Value slice(Graph& graph, Value x, int64_t axis, int64_t begin, int64_t end) {
  return node(graph, OpCode::kSlice, AxisAttrs{axis, begin, end}, x);
}

Value concat(Graph& graph, Value a, Value b, int64_t axis) {
  return node(graph, OpCode::kConcat, AxisAttrs{axis, 0, 0}, a, b);
}

Value gather_rows(Graph& graph, Value x, Value rows) {
  return node(graph, OpCode::kGatherRows, std::monostate{}, x, rows);
}

Value reduce(Graph& graph, Value x, Value lengths, bool mean) {
  return node(graph, OpCode::kReduce, ReduceAttrs{mean}, x, lengths);
}

Value unfold(Graph& graph, Value x, WindowAttrs attrs) {
  return node(graph, OpCode::kUnfold, attrs, x);
}

Value convolve(Graph& graph, Value x, Value weight, WindowAttrs attrs) {
  return node(graph, OpCode::kConvolve, attrs, x, weight);
}

Value max_pool(Graph& graph, Value x, WindowAttrs attrs) {
  return node(graph, OpCode::kMaxPool, attrs, x);
}

Value pool(Graph& graph, Value x, Value scores, Value lengths) {
  return node(graph, OpCode::kPool, std::monostate{}, x, scores, lengths);
}

Value cast(Graph& graph, Value x, DType dtype) {
  if (graph.type(x).dtype == dtype) return x;
  return node(graph, OpCode::kCast, CastAttrs{dtype}, x);
}

Value gradient_norm(Graph& graph, Value gradients) {
  return node(graph, OpCode::kGradientNorm, std::monostate{}, gradients);
}

void adamw(Graph& graph, Value parameter, Value gradient, Value m, Value v, Value hyper, Value norm,
           OptimizerAttrs attrs) {
  node(graph, OpCode::kAdamW, attrs, parameter, gradient, m, v, hyper, norm);
}

void muon(Graph& graph, Value parameter, Value gradient, Value momentum, Value hyper, Value norm,
          OptimizerAttrs attrs) {
  node(graph, OpCode::kMuon, attrs, parameter, gradient, momentum, hyper, norm);
}

void ema(Graph& graph, Value parameter, Value shadow, Value hyper) {
  node(graph, OpCode::kEma, OptimizerAttrs{}, parameter, shadow, hyper);
}

}  // namespace quern::graph
