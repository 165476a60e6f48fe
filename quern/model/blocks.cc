#include "quern/model/blocks.h"

#include <fmt/format.h>

#include <cmath>

#include "quern/base/error.h"
#include "quern/base/random.h"

namespace quern::model {

using graph::Value;

bool has_final_norm(const ModelConfig& config) { return config.norm_place == NormPlace::kPre; }

void Blocks::declare_random(bool needed) {
  const bool drops = c_.dropout > 0 || c_.attention_dropout > 0 || c_.drop_path > 0;
  if (training_ && (drops || needed || store_.rounds_stochastically()))
    random_ = g_.input("random", {DType::kU32, {4}});
}

Value Blocks::run(Value x, const Sequence& sequence) {
  sequence_ = sequence;
  for (int64_t layer = 0; layer < c_.layers; ++layer) {
    g_.set_layer(static_cast<int32_t>(layer));
    x = block(x, layer);
    g_.tap(graph::Tap::kResidual, x);
  }
  g_.set_layer(-1);
  return x;
}

Value Blocks::parameter_as(const std::string& short_name, DType type) {
  const std::string name = prefix_ + short_name;
  const int32_t index = store_.find(name);
  if (index < 0) throw Error("missing_parameter", "the model has no parameter " + name);
  const auto& info = store_.parameters()[static_cast<size_t>(index)];
  return g_.parameter(name, index, {is_quantized(info.dtype) ? info.dtype : type, info.shape});
}
Value Blocks::parameter(const std::string& name) { return parameter_as(name, DType::kF32); }
Value Blocks::weight(const std::string& name) { return parameter_as(name, type()); }
Value Blocks::optional_weight(const std::string& name) {
  return store_.find(prefix_ + name) < 0 ? Value{} : weight(name);
}
Value Blocks::optional_parameter(const std::string& name) {
  return store_.find(prefix_ + name) < 0 ? Value{} : parameter(name);
}

/// residual + dropout(x), where training asks for it.
Value Blocks::dropped(Value x, Value residual, float rate, bool path) {
  if (!training_ || rate == 0) return residual ? graph::add(g_, residual, x) : x;
  graph::DropoutAttrs attrs;
  attrs.rate = rate;
  attrs.per_sample = path;
  attrs.stream = static_cast<uint32_t>(path ? Stream::kDropPath : Stream::kDropout);
  attrs.layer = dropouts_++;
  return graph::dropout(g_, x, random_, residual, attrs);
}

Value Blocks::norm(Value x, const std::string& name) {
  graph::NormAttrs attrs;
  attrs.rms = c_.norm == NormKind::kRms;
  attrs.epsilon = c_.norm_epsilon;
  return graph::norm(g_, x, {}, parameter(name + ".weight"), optional_parameter(name + ".bias"),
                     attrs)
      .y;
}

/// The last projection of a sub-layer and its residual sum: in the projection's own epilogue,
/// unless dropout stands between them (on the sub-layer's output before it is added: Vaswani et
/// al. 2017, section 5.4).
Value Blocks::project(Value x, const std::string& name, Value residual, float path_rate) {
  const Value matrix = weight(name + ".weight");
  const Value bias = optional_weight(name + ".bias");
  if (!training_ || (c_.dropout == 0 && path_rate == 0))
    return graph::linear(g_, x, matrix, bias, residual);
  Value y = graph::linear(g_, x, matrix, bias);
  if (path_rate == 0) return dropped(y, residual, c_.dropout, false);
  if (c_.dropout > 0) y = dropped(y, {}, c_.dropout, false);
  return dropped(y, residual, path_rate, true);
}

Value Blocks::attention(Value x, Value residual, int64_t layer, float path_rate) {
  const std::string prefix = fmt::format("layers.{}.attention.", layer);
  const graph::HeadsAttrs heads{c_.heads, c_.kv_heads, c_.head_width()};
  graph::AttentionInputs inputs;
  inputs.lengths = sequence_.lengths;
  inputs.qkv =
      graph::linear(g_, x, weight(prefix + "qkv.weight"), optional_weight(prefix + "qkv.bias"));
  if (sequence_.rope_table)
    inputs.qkv = graph::rope(g_, inputs.qkv, sequence_.rope_table, sequence_.offsets, heads);
  if (sequence_.cache_capacity > 0) {
    const TensorType cache{
        type(), {g_.shape(x)[0], c_.kv_heads, sequence_.cache_capacity, c_.head_width()}};
    inputs.k_cache = g_.state(fmt::format("cache.{}.key", layer), cache);
    inputs.v_cache = g_.state(fmt::format("cache.{}.value", layer), cache);
    graph::cache_write(g_, inputs.qkv, inputs.k_cache, inputs.v_cache, sequence_.offsets, heads);
  }
  inputs.alibi_slopes = sequence_.alibi_slopes;
  graph::AttentionAttrs attrs;
  attrs.heads = c_.heads;
  attrs.kv_heads = c_.kv_heads;
  attrs.head_dim = c_.head_width();
  attrs.causal = c_.causal;
  attrs.scale = 1.0F / std::sqrt(static_cast<float>(c_.head_width()));
  attrs.layer = static_cast<uint32_t>(layer);
  if (training_ && c_.attention_dropout > 0) {
    attrs.dropout = c_.attention_dropout;
    inputs.random = random_;
  }
  const Value mixed = graph::attention(g_, inputs, attrs);
  g_.tap(graph::Tap::kAttention, mixed);
  return project(mixed, prefix + "out", residual, path_rate);
}

Value Blocks::feed_forward(Value x, Value residual, int64_t layer, float path_rate) {
  const std::string prefix = fmt::format("layers.{}.ffn.", layer);
  const Value matrix = weight(prefix + "up.weight");
  const Value bias = optional_weight(prefix + "up.bias");
  const graph::Activation act = activation_of(c_.activation);
  const Value hidden = is_gated(c_.activation)
                           ? graph::gated_unit(g_, graph::linear(g_, x, matrix, bias), act)
                           : graph::linear(g_, x, matrix, bias, {}, act);
  return project(hidden, prefix + "down", residual, path_rate);
}

Value Blocks::block(Value x, int64_t layer) {
  const std::string prefix = fmt::format("layers.{}.", layer);
  // Stochastic depth grows linearly with depth (Huang et al. 2016).
  const float path_rate =
      c_.layers == 1 ? c_.drop_path
                     : c_.drop_path * static_cast<float>(layer) / static_cast<float>(c_.layers - 1);
  if (c_.norm_place == NormPlace::kPost) {
    x = norm(attention(x, x, layer, path_rate), prefix + "norm1");
    return norm(feed_forward(x, x, layer, path_rate), prefix + "norm2");
  }
  const bool article = c_.norm_place == NormPlace::kArticle;
  Value normed = norm(x, prefix + "norm1");
  x = attention(normed, article ? normed : x, layer, path_rate);
  normed = norm(x, prefix + "norm2");
  return feed_forward(normed, article ? normed : x, layer, path_rate);
}

}  // namespace quern::model
