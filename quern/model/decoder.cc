#include "quern/model/decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "quern/base/error.h"
#include "quern/model/blocks.h"

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
      : c_(config),
        options_(options),
        blocks_(g_, config, store, options.use == TraceOptions::Use::kTrain) {
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
    if (options_.tokens != Tokens::kGiven) ids_ = g_.input("ids", {DType::kI32, {batch, length_}});
    if (decoding_) {
      offsets_ = g_.input("offsets", {DType::kI32, {batch}});
      sequence_.offsets = offsets_;
      sequence_.lengths = g_.input("lengths", {DType::kI32, {batch}});
      sequence_.cache_capacity = capacity_;
    }
    blocks_.declare_random(c_.side_slots > 0 && c_.entry_dropout > 0);
    make_tables();
    head(blocks_.run(embed(), sequence_));
    return std::move(g_);
  }

 private:
  void make_tables() {
    // Every position a query can stand at has a row.
    const int64_t positions =
        decoding_ ? std::max(capacity_, c_.context) : std::max(length_, c_.context);
    switch (c_.position) {
      case Position::kRope:
        sequence_.rope_table =
            g_.constant("rope", {DType::kF32, {positions, c_.head_width()}},
                        [theta = static_cast<double>(c_.rope_theta)](TensorView table) {
                          fill_rope_table(table, theta);
                        });
        break;
      case Position::kSinusoidal:
        positions_ = g_.constant("sinusoids", {DType::kF32, {positions, c_.width}}, fill_sinusoids);
        break;
      case Position::kAlibi:
        sequence_.alibi_slopes = g_.constant("alibi", {DType::kF32, {c_.heads}}, fill_alibi_slopes);
        break;
      case Position::kLearned:
        positions_ = blocks_.parameter("embed.position");
        break;
      case Position::kNone:
        break;
    }
  }

  /// What stands for each entry of the vocabulary: its own row, and those of its side columns.
  Value entries() {
    const Value own = blocks_.parameter("embed.weight");
    if (c_.side_slots == 0) return own;
    const auto given = static_cast<int64_t>(options_.side.size()) / c_.side_slots;
    const int64_t count = decoding_ ? given : c_.vocabulary;
    if (given < c_.vocabulary) {
      throw ShapeError(
          fmt::format("side columns of {} entries for a vocabulary of {}", given, c_.vocabulary),
          "give those of all");
    }
    Value base = blocks_.dropped(own, {}, c_.entry_dropout, true);
    if (count > c_.vocabulary) {
      const Value none = g_.constant("no_rows", {DType::kF32, {count - c_.vocabulary, c_.width}},
                                     [](TensorView) {});
      base = graph::concat(g_, base, none, 0);
    }
    const auto used = options_.side.first(static_cast<size_t>(count * c_.side_slots));
    const Value ids =
        g_.constant("side_ids", {DType::kI32, {1, count, c_.side_slots}},
                    [used](TensorView out) { std::copy(used.begin(), used.end(), out.i32()); });
    const Value side = graph::embedding(g_, ids, blocks_.parameter("embed.side"), {}, {}, 1);
    return graph::add(g_, base, graph::reshape(g_, side, {count, c_.width}));
  }

  Value embed() {
    table_ = entries();
    if (options_.tokens == Tokens::kGiven) {
      const Value given = g_.input("tokens", {DType::kF32, {options_.batch, length_, c_.width}});
      return graph::cast(g_, given, blocks_.type());
    }
    const DType type = options_.tokens == Tokens::kShown ? DType::kF32 : blocks_.type();
    const float scale = c_.scale_embedding ? std::sqrt(static_cast<float>(c_.width)) : 1.0F;
    Value x = graph::embedding(g_, ids_, table_, positions_, offsets_, scale, type);
    if (c_.ngram_orders > 0) {
      const Value ids =
          g_.input("ngram_ids", {DType::kI32, {options_.batch, length_, c_.ngram_orders}});
      const Value table = blocks_.parameter("embed.ngram");
      x = graph::add(g_, x, graph::embedding(g_, ids, table, {}, {}, 1, type));
    }
    if (options_.tokens == Tokens::kShown) g_.name_output("tokens", x);
    return blocks_.dropped(graph::cast(g_, x, blocks_.type()), {}, c_.dropout, false);
  }

  /// The loss over candidates: their rows are gathered, and their logits moved by how likely each
  /// was to be drawn.
  Value candidate_logits(Value x) {
    const int64_t count = options_.candidates;
    const Value ids = g_.input("candidates", {DType::kI32, {1, count}});
    const Value table = c_.tie_embeddings ? table_ : blocks_.parameter("output.weight");
    const Value rows =
        graph::reshape(g_, graph::embedding(g_, ids, table, {}, {}, 1), {count, c_.width});
    return graph::widened_linear(g_, x, graph::cast(g_, rows, blocks_.type()),
                                 g_.input("candidate_bias", {DType::kF32, {count}}));
  }

  /// Rows of what x is multiplied with, in its type: the table's own copy where that is a
  /// parameter.
  Value output_rows() {
    if (!c_.tie_embeddings) return blocks_.weight("output.weight");
    if (c_.side_slots == 0) return blocks_.weight("embed.weight");
    return graph::cast(g_, table_, blocks_.type());
  }

  void head(Value x) {
    const bool one = decoding_ || options_.one_target;
    if (one) x = graph::gather_rows(g_, x, g_.input("rows", {DType::kI32, {options_.batch}}));
    if (has_final_norm(c_)) x = blocks_.norm(x, "norm");
    if (decoding_ || options_.use == TraceOptions::Use::kLogits) {
      g_.name_output("logits", graph::widened_linear(g_, x, output_rows()));
      return;
    }
    const Value logits =
        options_.candidates > 0 ? candidate_logits(x) : graph::linear(g_, x, output_rows());
    const Shape places = one ? Shape{options_.batch} : Shape{options_.batch, length_};
    const Value targets = g_.input("targets", {DType::kI32, places});
    const Value weight = g_.input("loss_weight", {DType::kF32, {1}});
    const auto [loss, nll] = graph::cross_entropy(g_, logits, targets, weight, {},
                                                  training_ ? c_.label_smoothing : 0.0F);
    g_.name_output("loss", loss);
    g_.name_output("nll", nll);
  }

  const ModelConfig& c_;
  const TraceOptions& options_;
  int64_t length_ = 0, capacity_ = 0;
  bool training_ = false, decoding_ = false;
  Graph g_;
  Blocks blocks_;
  Blocks::Sequence sequence_;
  Value ids_, offsets_, table_, positions_;
};

}  // namespace

graph::Graph trace(const ModelConfig& config, const graph::ParameterStore& store,
                   const TraceOptions& options) {
  config.validate();
  return Tracer(config, store, options).run();
}

}  // namespace quern::model
