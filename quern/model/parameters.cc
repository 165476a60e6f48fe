#include <fmt/format.h>

#include <cmath>

#include "quern/base/random.h"
#include "quern/model/blocks.h"
#include "quern/model/decoder.h"

namespace quern::model {

using graph::ParameterGroup;

void declare_blocks(const ModelConfig& c, graph::ParameterStore& store) {
  const auto norm = [&](const std::string& name) {
    store.declare(name + ".weight", {c.width}, ParameterGroup::kVector);
    if (c.norm == NormKind::kLayer && c.bias)
      store.declare(name + ".bias", {c.width}, ParameterGroup::kVector);
  };
  const auto linear = [&](const std::string& name, int64_t out, int64_t in) {
    store.declare(name + ".weight", {out, in}, ParameterGroup::kMatrix);
    if (c.bias) store.declare(name + ".bias", {out}, ParameterGroup::kVector);
  };
  const int64_t query = c.heads * c.head_width();
  const int64_t qkv = query + 2 * c.kv_heads * c.head_width();
  for (int64_t layer = 0; layer < c.layers; ++layer) {
    const std::string prefix = fmt::format("layers.{}.", layer);
    norm(prefix + "norm1");
    linear(prefix + "attention.qkv", qkv, c.width);
    linear(prefix + "attention.out", c.width, query);
    norm(prefix + "norm2");
    linear(prefix + "ffn.up", is_gated(c.activation) ? 2 * c.ffn_width : c.ffn_width, c.width);
    linear(prefix + "ffn.down", c.width, c.ffn_width);
  }
  if (has_final_norm(c)) norm("norm");
}

void declare_parameters(const ModelConfig& c, graph::ParameterStore& store) {
  store.declare("embed.weight", {c.vocabulary, c.width}, ParameterGroup::kEmbedding);
  if (c.position == Position::kLearned) {
    store.declare("embed.position", {c.context, c.width}, ParameterGroup::kEmbedding);
  }
  if (c.ngram_orders > 0) {
    store.declare("embed.ngram", {c.ngram_buckets, c.width}, ParameterGroup::kEmbedding);
  }
  if (c.side_slots > 0) {
    store.declare("embed.side", {c.side_rows, c.width}, ParameterGroup::kEmbedding);
  }
  declare_blocks(c, store);
  if (!c.tie_embeddings)
    store.declare("output.weight", {c.vocabulary, c.width}, ParameterGroup::kEmbedding);
}

void initialise(const ModelConfig& c, graph::ParameterStore& store, uint64_t seed) {
  constexpr double kDeviation = 0.02;
  const double residual = kDeviation / std::sqrt(2.0 * static_cast<double>(c.layers));
  const auto parameters = store.parameters();
  for (size_t i = 0; i < parameters.size(); ++i) {
    const auto& parameter = parameters[i];
    const auto values = store.value(static_cast<int32_t>(i)).f32_span();
    const bool bias = parameter.name.ends_with(".bias");
    // The n-gram tables start silent, so that a model begins as it would without them.
    if (bias || parameter.name == "embed.ngram") {
      std::fill(values.begin(), values.end(), 0.0F);
    } else if (parameter.group == ParameterGroup::kVector) {
      std::fill(values.begin(), values.end(), 1.0F);
    } else {
      const bool writes_residual = parameter.name.ends_with("attention.out.weight") ||
                                   parameter.name.ends_with("ffn.down.weight");
      const double deviation = writes_residual ? residual : kDeviation;
      Random random(seed, Stream::kInitialisation, i);
      for (float& value : values) value = static_cast<float>(deviation * random.normal());
    }
  }
}

}  // namespace quern::model
