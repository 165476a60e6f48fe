#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "quern/base/error.h"
#include "quern/base/random.h"
#include "quern/model/blocks.h"
#include "quern/model/encoder.h"

namespace quern::model {
namespace {

using graph::ParameterGroup;

void require(bool holds, const std::string& what, const char* hint) {
  if (!holds) throw UsageError("bad_value", what, hint);
}

/// What a parameter starts as: uniform within ± bound, ones, zeros, or signs.
void fill_uniform(std::span<float> values, double bound, Random& random) {
  for (float& value : values) value = static_cast<float>(bound * (2 * random.uniform() - 1));
}

double fan_in_of(const graph::ParameterInfo& parameter) {
  return static_cast<double>(parameter.shape.back());
}

void initialise_one(const EncoderConfig& c, const graph::ParameterInfo& parameter,
                    std::span<float> values, Random& random) {
  const std::string& name = parameter.name;
  const double residual =
      0.02 / std::sqrt(2.0 * static_cast<double>(std::max<int64_t>(c.trunk.layers, 1)));
  if (name == "head.scale") {
    // Members start apart by signs alone (Gorishniy et al. 2025, section 3.3).
    for (float& value : values) value = c.members == 1 || random.uniform() < 0.5 ? 1.0F : -1.0F;
  } else if (name == "head.linear") {
    std::fill(values.begin(), values.end(), 1.0F);
  } else if (name.ends_with(".bias") || name == "embed.ngram" ||
             (c.linear && name == "head.out.weight")) {  // the linear model alone, at first
    std::fill(values.begin(), values.end(), 0.0F);
  } else if (name.starts_with("layers.") || name.starts_with("norm")) {
    if (parameter.group == ParameterGroup::kVector) {
      std::fill(values.begin(), values.end(), 1.0F);
      return;
    }
    const bool writes_residual =
        name.ends_with("attention.out.weight") || name.ends_with("ffn.down.weight");
    const double deviation = writes_residual ? residual : 0.02;
    for (float& value : values) value = static_cast<float>(deviation * random.normal());
  } else if (name.starts_with("embed.image.stem")) {
    fill_uniform(values, std::sqrt(6 / fan_in_of(parameter)), random);  // He et al. 2015
  } else if (name == "embed.category" || name == "embed.category_bias") {
    fill_uniform(values, 1 / std::sqrt(static_cast<double>(c.trunk.width)), random);
  } else if (name == "embed.weight" || name.ends_with(".position")) {
    for (float& value : values) value = static_cast<float>(0.02 * random.normal());
  } else {
    fill_uniform(values, 1 / std::sqrt(fan_in_of(parameter)), random);
  }
}

}  // namespace

void EncoderConfig::validate() const {
  ModelConfig checked = trunk;
  checked.vocabulary = std::max<int64_t>(trunk.vocabulary, 1);
  checked.context = std::max<int64_t>(trunk.context, 2);
  checked.layers = std::max<int64_t>(trunk.layers, 1);  // none: the head alone
  checked.validate();
  require(!trunk.causal && trunk.position == Position::kNone,
          "an encoder's blocks look both ways and take no positions of their own",
          "leave model.position to the encoder");
  require(columns() > 0 || has_text() || has_image(), "the model has no input",
          "give at least one column, text or picture");
  if (has_image()) {
    constexpr int64_t kMostSide = 4096;
    require(image.height <= kMostSide && image.width >= 1 && image.width <= kMostSide &&
                (image.channels == 1 || image.channels == 3),
            "a picture has 1 to 4,096 pixels a side and 1 or 3 channels", "model.image_size");
    require(image.stem >= 0 && image.stem <= 8, "model.stem is 0 to 8 rounds", "model.stem = 2");
    require(image.stem > 0 ||
                (image.patch >= 1 && image.patch <= image.height && image.patch <= image.width),
            "a patch is no larger than the picture", "model.patch = 4");
    require(image_tokens() <= 16'384, "the picture gives more than 16,384 tokens",
            "take a larger model.patch, more rounds of model.stem, or a smaller model.image_size");
  }
  require(outputs >= 1 && members >= 1 && head_layers >= 0 && (head_layers == 0 || head_width >= 1),
          "outputs, regularise.ensemble and the head's width must be at least 1",
          "leave them out to take the defaults");
  require(copies >= 1 && copies <= 64, "a model has 1 to 64 copies", "data.folds = 5");
  require(answer == Answer::kClass || outputs == 1, "a value has one output", "outputs = 1");
  require(numbers == 0 || number_bins > 0, "number columns need bins", "number_bins >= 1");
  require((ngram_buckets > 0) == (ngram_bag > 0), "n-grams need buckets and a capacity",
          "set both or none");
  for (const int64_t values : categories)
    require(values >= 1, "a category column needs a value", "leave constant columns out");
}

void declare_encoder(const EncoderConfig& c, graph::ParameterStore& store) {
  if (c.copies > 1) {
    graph::ParameterStore one;
    declare_encoder(c.single(), one);
    for (int64_t copy = 0; copy < c.copies; ++copy)
      for (const auto& parameter : one.parameters())
        store.declare(c.copy_prefix(copy) + parameter.name, parameter.shape, parameter.group);
    return;
  }
  const int64_t width = c.trunk.width;
  const auto declare = [&](std::string_view name, Shape shape, ParameterGroup group) {
    store.declare(name, shape, group);
  };
  if (c.numbers > 0) {
    declare("embed.number.weight", {c.numbers, width, c.number_bins}, ParameterGroup::kEmbedding);
    declare("embed.number.bias", {c.numbers, width}, ParameterGroup::kVector);
  }
  if (!c.categories.empty()) {
    declare("embed.category", {c.category_rows(), width}, ParameterGroup::kEmbedding);
    declare("embed.category_bias", {static_cast<int64_t>(c.categories.size()), width},
            ParameterGroup::kVector);
  }
  if (c.has_image()) {
    int64_t channels = c.image.channels;
    for (int64_t round = 0; round < c.image.stem; ++round) {
      const int64_t next = c.stem_width(round);
      declare(fmt::format("embed.image.stem.{}.weight", round), {next, 9 * channels},
              ParameterGroup::kMatrix);
      channels = next;
    }
    if (c.image.stem == 0) {
      declare("embed.image.weight", {width, c.image.patch * c.image.patch * channels},
              ParameterGroup::kMatrix);
      declare("embed.image.bias", {width}, ParameterGroup::kVector);
    }
    declare("embed.image.position", {c.image_tokens(), width}, ParameterGroup::kEmbedding);
    declare("pool.image.weight", {1, width}, ParameterGroup::kEmbedding);
    declare("pool.image.bias", {1}, ParameterGroup::kVector);
  }
  if (c.has_text()) {
    declare("embed.weight", {c.trunk.vocabulary, width}, ParameterGroup::kEmbedding);
    declare("embed.position", {c.trunk.context, width}, ParameterGroup::kEmbedding);
  }
  if (c.ngram_buckets > 0) {
    declare("embed.ngram", {c.ngram_buckets, width}, ParameterGroup::kEmbedding);
  }
  declare_blocks(c.trunk, store);
  int64_t inputs = c.head_inputs();
  declare("head.scale", {c.members, inputs}, ParameterGroup::kVector);
  for (int64_t layer = 0; layer < c.head_layers; ++layer) {
    declare(fmt::format("head.{}.weight", layer), {c.head_width, inputs}, ParameterGroup::kMatrix);
    declare(fmt::format("head.{}.bias", layer), {c.head_width}, ParameterGroup::kVector);
    inputs = c.head_width;
  }
  declare("head.out.weight", {c.members, c.outputs, inputs}, ParameterGroup::kEmbedding);
  declare("head.out.bias", {c.members, c.outputs}, ParameterGroup::kVector);
  if (c.linear) declare("head.linear", {c.members, c.outputs}, ParameterGroup::kVector);
}

void initialise_encoder(const EncoderConfig& c, graph::ParameterStore& store, uint64_t seed) {
  const auto parameters = store.parameters();
  for (size_t i = 0; i < parameters.size(); ++i) {
    Random random(seed, Stream::kInitialisation, i);
    initialise_one(c, parameters[i], store.value(static_cast<int32_t>(i)).f32_span(), random);
  }
}

}  // namespace quern::model
