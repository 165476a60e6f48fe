#include "quern/model/decoder.h"

#include <fmt/format.h>

#include <cmath>

#include "quern/base/error.h"
#include "quern/base/random.h"

namespace quern::model {
namespace {

using graph::Graph;
using graph::Value;

/// cos and sin of position · θ^(-2i/D), as kRope reads them.
void fill_rope_table(TensorView table, double theta) {
  const int64_t capacity = table.shape()[0];
  const int64_t width = table.shape()[1];
  const int64_t half = width / 2;
  for (int64_t position = 0; position < capacity; ++position) {
    float* row = table.f32() + position * width;
    for (int64_t i = 0; i < half; ++i) {
      const double frequency =
          std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(width));
      const double angle = static_cast<double>(position) * frequency;
      row[i] = static_cast<float>(std::cos(angle));
      row[half + i] = static_cast<float>(std::sin(angle));
    }
  }
}

/// Vaswani et al. 2017, section 3.5: sines in even columns, cosines in odd ones.
void fill_sinusoids(TensorView table) {
  const int64_t width = table.shape()[1];
  for (int64_t position = 0; position < table.shape()[0]; ++position) {
    for (int64_t i = 0; i < width; ++i) {
      const double exponent = static_cast<double>(i / 2 * 2) / static_cast<double>(width);
      const double angle = static_cast<double>(position) / std::pow(10000.0, exponent);
      table.f32()[position * width + i] =
          static_cast<float>(i % 2 == 0 ? std::sin(angle) : std::cos(angle));
    }
  }
}

/// Press et al. 2021: 2^(-8h/n) for a power of two; else the slopes of the power below, then every
/// other one of the power above.
void fill_alibi_slopes(TensorView slopes) {
  const int64_t heads = slopes.elements();
  int64_t power = 1;
  while (power * 2 <= heads) power *= 2;
  for (int64_t h = 0; h < heads; ++h) {
    const double exponent =
        h < power ? 8.0 * static_cast<double>(h + 1) / static_cast<double>(power)
                  : 4.0 * static_cast<double>(2 * (h - power) + 1) / static_cast<double>(power);
    slopes.f32()[h] = static_cast<float>(std::exp2(-exponent));
  }
}

class Tracer {
 public:
  Tracer(const ModelConfig& config, const graph::ParameterStore& store, const TraceOptions& options)
      : c_(config), store_(store), options_(options) {
    length_ = options.length != 0 ? options.length : config.context;
    capacity_ = options.cache_capacity != 0 ? options.cache_capacity : config.context;
    training_ = options.use == TraceOptions::Use::kTrain;
    decoding_ = options.use == TraceOptions::Use::kDecode;
    if (length_ > (decoding_ ? capacity_ : config.context) &&
        config.position == Position::kLearned) {
      throw ShapeError(fmt::format("a sequence of {} tokens does not fit the model's context of {}",
                                   length_, config.context));
    }
  }

  Graph run() {
    const int64_t batch = options_.batch;
    ids_ = g_.input("ids", {DType::kI32, {batch, length_}});
    if (decoding_) {
      offsets_ = g_.input("offsets", {DType::kI32, {batch}});
      lengths_ = g_.input("lengths", {DType::kI32, {batch}});
    }
    if (training_ && uses_random()) random_ = g_.input("random", {DType::kU32, {4}});
    make_tables();
    Value x = embed();
    for (int64_t layer = 0; layer < c_.layers; ++layer) {
      g_.set_layer(static_cast<int32_t>(layer));
      x = block(x, layer);
      g_.tap(graph::Tap::kResidual, x);
    }
    g_.set_layer(-1);
    head(x);
    return std::move(g_);
  }

 private:
  bool uses_random() const {
    return c_.dropout > 0 || c_.attention_dropout > 0 || c_.drop_path > 0;
  }

  Value parameter(const std::string& name) {
    const int32_t index = store_.find(name);
    if (index < 0) throw Error("missing_parameter", "the model has no parameter " + name);
    const auto& info = store_.parameters()[static_cast<size_t>(index)];
    return g_.parameter(name, index, {DType::kF32, info.shape});
  }
  Value optional_parameter(const std::string& name) {
    return store_.find(name) < 0 ? Value{} : parameter(name);
  }

  void make_tables() {
    // Every position a query can stand at has a row.
    const int64_t positions =
        decoding_ ? std::max(capacity_, c_.context) : std::max(length_, c_.context);
    switch (c_.position) {
      case Position::kRope:
        rope_table_ = g_.constant("rope", {DType::kF32, {positions, c_.head_width()}},
                                  [theta = static_cast<double>(c_.rope_theta)](TensorView table) {
                                    fill_rope_table(table, theta);
                                  });
        break;
      case Position::kSinusoidal:
        positions_ = g_.constant("sinusoids", {DType::kF32, {positions, c_.width}}, fill_sinusoids);
        break;
      case Position::kAlibi:
        alibi_slopes_ = g_.constant("alibi", {DType::kF32, {c_.heads}}, fill_alibi_slopes);
        break;
      case Position::kLearned:
        positions_ = parameter("embed.position");
        break;
      case Position::kNone:
        break;
    }
  }

  Value embed() {
    table_ = parameter("embed.weight");
    const float scale = c_.scale_embedding ? std::sqrt(static_cast<float>(c_.width)) : 1.0F;
    Value x = graph::embedding(g_, ids_, table_, positions_, offsets_, scale);
    if (c_.ngram_orders > 0) {
      const Value ids =
          g_.input("ngram_ids", {DType::kI32, {options_.batch, length_, c_.ngram_orders}});
      x = graph::add(g_, x, graph::embedding(g_, ids, parameter("embed.ngram"), {}, {}, 1));
    }
    return dropped(x, {}, c_.dropout, false);
  }

  /// residual + dropout(x), where training asks for it.
  Value dropped(Value x, Value residual, float rate, bool path) {
    if (!training_ || rate == 0) return residual ? graph::add(g_, residual, x) : x;
    graph::DropoutAttrs attrs;
    attrs.rate = rate;
    attrs.per_sample = path;
    attrs.stream = static_cast<uint32_t>(path ? Stream::kDropPath : Stream::kDropout);
    attrs.layer = dropouts_++;
    return graph::dropout(g_, x, random_, residual, attrs);
  }

  Value norm(Value x, const std::string& name) {
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
  Value project(Value x, const std::string& name, Value residual, float path_rate) {
    const Value weight = parameter(name + ".weight");
    const Value bias = optional_parameter(name + ".bias");
    if (!training_ || (c_.dropout == 0 && path_rate == 0))
      return graph::linear(g_, x, weight, bias, residual);
    Value y = graph::linear(g_, x, weight, bias);
    if (path_rate == 0) return dropped(y, residual, c_.dropout, false);
    if (c_.dropout > 0) y = dropped(y, {}, c_.dropout, false);
    return dropped(y, residual, path_rate, true);
  }

  Value attention(Value x, Value residual, int64_t layer, float path_rate) {
    const std::string prefix = fmt::format("layers.{}.attention.", layer);
    const graph::HeadsAttrs heads{c_.heads, c_.kv_heads, c_.head_width()};
    graph::AttentionInputs inputs;
    inputs.qkv = graph::linear(g_, x, parameter(prefix + "qkv.weight"),
                               optional_parameter(prefix + "qkv.bias"));
    if (rope_table_) inputs.qkv = graph::rope(g_, inputs.qkv, rope_table_, offsets_, heads);
    if (decoding_) {
      const TensorType cache{DType::kF32,
                             {options_.batch, c_.kv_heads, capacity_, c_.head_width()}};
      inputs.k_cache = g_.state(fmt::format("cache.{}.key", layer), cache);
      inputs.v_cache = g_.state(fmt::format("cache.{}.value", layer), cache);
      inputs.lengths = lengths_;
      graph::cache_write(g_, inputs.qkv, inputs.k_cache, inputs.v_cache, offsets_, heads);
    }
    inputs.alibi_slopes = alibi_slopes_;
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

  Value feed_forward(Value x, Value residual, int64_t layer, float path_rate) {
    const std::string prefix = fmt::format("layers.{}.ffn.", layer);
    const Value weight = parameter(prefix + "up.weight");
    const Value bias = optional_parameter(prefix + "up.bias");
    const graph::Activation act = activation_of(c_.activation);
    const Value hidden = is_gated(c_.activation)
                             ? graph::gated_unit(g_, graph::linear(g_, x, weight, bias), act)
                             : graph::linear(g_, x, weight, bias, {}, act);
    return project(hidden, prefix + "down", residual, path_rate);
  }

  Value block(Value x, int64_t layer) {
    const std::string prefix = fmt::format("layers.{}.", layer);
    // Stochastic depth grows linearly with depth (Huang et al. 2016).
    const float path_rate = c_.layers == 1 ? c_.drop_path
                                           : c_.drop_path * static_cast<float>(layer) /
                                                 static_cast<float>(c_.layers - 1);
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

  void head(Value x) {
    if (decoding_) x = graph::gather_rows(g_, x, g_.input("rows", {DType::kI32, {options_.batch}}));
    if (has_final_norm(c_)) x = norm(x, "norm");
    const Value logits =
        graph::linear(g_, x, c_.tie_embeddings ? table_ : parameter("output.weight"));
    if (decoding_ || options_.use == TraceOptions::Use::kLogits) {
      g_.name_output("logits", logits);
      return;
    }
    const Value targets = g_.input("targets", {DType::kI32, {options_.batch, length_}});
    const Value weight = g_.input("loss_weight", {DType::kF32, {1}});
    const auto [loss, nll] =
        graph::cross_entropy(g_, logits, targets, weight, training_ ? c_.label_smoothing : 0.0F);
    g_.name_output("loss", loss);
    g_.name_output("nll", nll);
  }

  const ModelConfig& c_;
  const graph::ParameterStore& store_;
  const TraceOptions& options_;
  int64_t length_ = 0, capacity_ = 0;
  bool training_ = false, decoding_ = false;
  Graph g_;
  Value ids_, offsets_, lengths_, random_, table_, positions_, rope_table_, alibi_slopes_;
  uint32_t dropouts_ = 0;
};

}  // namespace

bool has_final_norm(const ModelConfig& config) { return config.norm_place == NormPlace::kPre; }

graph::Graph trace(const ModelConfig& config, const graph::ParameterStore& store,
                   const TraceOptions& options) {
  config.validate();
  return Tracer(config, store, options).run();
}

}  // namespace quern::model
