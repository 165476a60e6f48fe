#include "quern/model/encoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "quern/base/error.h"
#include "quern/model/blocks.h"
#include "quern/model/encoder_representation.h"

namespace quern::model {
namespace {

using graph::Graph;
using graph::Value;

class EncoderTracer {
 public:
  EncoderTracer(const EncoderConfig& config, const graph::ParameterStore& store,
                const EncoderTrace& options)
      : c_(config), options_(options), blocks_(g_, config.trunk, store, options.training) {}

  /// What the head of each copy sees of a row.
  Graph representation() {
    blocks_.declare_random(false);
    for (int64_t copy = 0; copy < c_.copies; ++copy) {
      prefix_ = c_.copy_prefix(copy);
      blocks_.set_prefix(prefix_);
      g_.name_output(prefix_ + "row", row());
    }
    return std::move(g_);
  }

  Graph run() {
    blocks_.declare_random(c_.head_dropout > 0);
    Value logits;
    for (int64_t copy = 0; copy < c_.copies; ++copy) {
      prefix_ = c_.copy_prefix(copy);
      blocks_.set_prefix(prefix_);
      logits = join(logits, answers());
    }
    answer(logits);
    return std::move(g_);
  }

 private:
  Value parameter(const std::string& name) { return blocks_.parameter(name); }

  /// An input that all copies read.
  Value input(const std::string& name, const TensorType& type) {
    Value& value = inputs_[name];
    if (!value) value = g_.input(name, type);
    return value;
  }

  /// Of one copy: (B,k,outputs).
  Value answers() { return head(row()); }

  /// Of one copy: (B,head_inputs()).
  Value row() {
    Value x = join(join(columns(), image()), text());
    x = blocks_.dropped(x, {}, c_.trunk.dropout, false);
    x = graph::cast(g_, x, blocks_.type());
    if (c_.trunk.layers > 0) x = blocks_.run(x, sequence_);
    if (has_final_norm(c_.trunk)) x = blocks_.norm(x, "norm");
    return gather(graph::cast(g_, x, DType::kF32));
  }

  Value join(Value a, Value b) {
    if (!a) return b;
    return b ? graph::concat(g_, a, b, 1) : a;
  }

  /// What `make` embeds an input to, or what is given in its place.
  template <typename Make>
  Value tokens(const std::string& short_name, Shape shape, const Make& make) {
    const std::string name = prefix_ + short_name;
    if (options_.tokens == Tokens::kGiven) return g_.input(name, {DType::kF32, shape});
    const Value x = make();
    if (options_.tokens == Tokens::kShown) g_.name_output(name, x);
    return x;
  }

  /// One token a column.
  Value columns() {
    if (c_.columns() == 0) return {};
    return tokens("column_tokens", {options_.batch, c_.columns(), c_.trunk.width},
                  [this] { return embedded_columns(); });
  }

  Value embedded_columns() {
    Value x;
    const int64_t batch = options_.batch;
    if (c_.numbers > 0) {
      const Value codes = input("numbers", {DType::kF32, {batch, c_.numbers, c_.number_bins}});
      x = graph::grouped_linear(g_, codes, parameter("embed.number.weight"),
                                parameter("embed.number.bias"));
    }
    if (!c_.categories.empty()) {
      const auto count = static_cast<int64_t>(c_.categories.size());
      const Value ids = input("categories", {DType::kI32, {batch, count}});
      x = join(x, graph::embedding(g_, ids, parameter("embed.category"),
                                   parameter("embed.category_bias"), {}, 1));
    }
    return x;
  }

  Value image() {
    if (!c_.has_image()) return {};
    const ImageInput& image = c_.image;
    Value x =
        input("image", {DType::kF32, {options_.batch, image.height, image.width, image.channels}});
    for (int64_t round = 0; round < image.stem; ++round) {
      const std::string name = fmt::format("embed.image.stem.{}", round);
      x = graph::convolve(g_, x, parameter(name + ".weight"),
                          {.kernel = 3, .stride = 1, .padding = 1});
      x = graph::max_pool(g_, x, {.kernel = 3, .stride = 2, .padding = 1, .relu = true});
    }
    if (image.stem == 0) {
      x = graph::unfold(g_, x, {.kernel = image.patch, .stride = image.patch, .padding = 0});
      x = graph::linear(g_, x, parameter("embed.image.weight"), parameter("embed.image.bias"));
    }
    x = graph::reshape(g_, x, {options_.batch, c_.image_tokens(), c_.trunk.width});
    return graph::add(g_, x, parameter("embed.image.position"));
  }

  Value text() {
    if (!c_.has_text()) return {};
    const int64_t batch = options_.batch;
    const int64_t length = c_.trunk.context;
    lengths_ = input("lengths", {DType::kI32, {batch}});
    if (c_.columns() + c_.image_tokens() == 0) {
      sequence_.lengths = lengths_;
    } else {
      sequence_.lengths = input("sequence_lengths", {DType::kI32, {batch}});
    }
    return tokens("text_tokens", {batch, length, c_.trunk.width}, [&] {
      const Value ids = input("ids", {DType::kI32, {batch, length}});
      return graph::embedding(g_, ids, parameter("embed.weight"), parameter("embed.position"), {},
                              1);
    });
  }

  /// The tokens as one vector a row: columns side by side, text and picture pooled.
  Value gather(Value x) {
    const int64_t batch = options_.batch;
    const int64_t columns = c_.columns();
    const int64_t pictures = c_.image_tokens();
    const int64_t total = g_.shape(x)[1];
    Value row;
    const auto part = [&](int64_t begin, int64_t end) {
      return begin == 0 && end == total ? x : graph::slice(g_, x, 1, begin, end);
    };
    const auto also = [&](Value y) { row = join(row, y); };
    if (columns > 0) {
      also(graph::reshape(g_, part(0, columns), {batch, columns * c_.trunk.width}));
    }
    if (pictures > 0) also(pooled(part(columns, columns + pictures), "image", {}));
    if (c_.has_text()) also(graph::reduce(g_, part(columns + pictures, total), lengths_, true));
    if (c_.ngram_buckets > 0) {
      also(tokens("bag", {batch, c_.trunk.width}, [&] {
        const Value bag = input("ngrams", {DType::kI32, {batch, 1, c_.ngram_bag}});
        const Value scale = input("ngram_scale", {DType::kF32, {batch, c_.trunk.width}});
        Value sum = graph::embedding(g_, bag, parameter("embed.ngram"), {}, {}, 1);
        sum = graph::reshape(g_, sum, {batch, c_.trunk.width});
        return graph::multiply(g_, sum, scale);
      }));
    }
    return row;
  }

  /// Sequence pooling: a learned score a token, softmax over the valid ones (Hassani et al. 2021).
  Value pooled(Value x, const std::string& kind, Value lengths) {
    const std::string name = "pool." + kind;
    Value scores = graph::linear(g_, x, parameter(name + ".weight"), parameter(name + ".bias"));
    scores = graph::reshape(g_, scores, {options_.batch, g_.shape(x)[1]});
    return graph::pool(g_, x, scores, lengths);
  }

  /// (B,F) -> (B,k,outputs).
  Value head(Value x) {
    x = graph::member_scale(g_, x, parameter("head.scale"));
    for (int64_t layer = 0; layer < c_.head_layers; ++layer) {
      const std::string name = fmt::format("head.{}", layer);
      x = graph::linear(g_, x, parameter(name + ".weight"), parameter(name + ".bias"), {},
                        graph::Activation::kRelu);
      x = blocks_.dropped(x, {}, c_.head_dropout, false);
    }
    x = graph::grouped_linear(g_, x, parameter("head.out.weight"), parameter("head.out.bias"));
    if (!c_.linear) return x;
    const Value scores = input("linear", {DType::kF32, {options_.batch, c_.outputs}});
    return graph::add(g_, x, graph::member_scale(g_, scores, parameter("head.linear")));
  }

  /// Each member carries its share of a row's loss.
  Value shared(Value nll) { return graph::scale(g_, nll, 1.0F / static_cast<float>(c_.members)); }

  /// Any linear function of the logits, so that its gradient can be asked for.
  void weigh(Value logits) {
    const Value weight = g_.input("logit_weight", {DType::kF32, g_.shape(logits)});
    Value sum = graph::multiply(g_, logits, weight);
    sum = graph::reshape(g_, sum, {1, g_.shape(sum).elements(), 1});
    g_.name_output("loss", graph::reshape(g_, graph::reduce(g_, sum, {}, false), {1}));
  }

  void answer(Value logits) {
    if (!options_.training) {
      g_.name_output("logits", logits);
      if (options_.weighed_logits) weigh(logits);
      return;
    }
    const Shape rows{options_.batch, c_.members};
    const Value weight = g_.input("loss_weight", {DType::kF32, {1}});
    const Value row_weight = g_.input("row_weight", {DType::kF32, rows});
    if (c_.answer == Answer::kValue) {
      const Value targets = g_.input("targets", {DType::kF32, rows});
      const auto [loss, error] =
          graph::squared_error(g_, graph::reshape(g_, logits, rows), targets, weight, row_weight);
      g_.name_output("loss", loss);
      g_.name_output("nll", shared(error));
      return;
    }
    const Value targets = g_.input("targets", {DType::kI32, rows});
    const auto [loss, nll] =
        graph::cross_entropy(g_, logits, targets, weight, row_weight, c_.trunk.label_smoothing);
    if (!c_.mixes) {
      g_.name_output("loss", loss);
      g_.name_output("nll", shared(nll));
      return;
    }
    // Mixup and cutmix: the same logits held against the partner's label too.
    const Value partner = g_.input("partner_targets", {DType::kI32, rows});
    const Value partner_weight = g_.input("partner_weight", {DType::kF32, rows});
    const auto [second, partner_nll] =
        graph::cross_entropy(g_, logits, partner, weight, partner_weight, c_.trunk.label_smoothing);
    g_.name_output("loss", graph::add(g_, loss, second));
    g_.name_output("nll", shared(graph::add(g_, nll, partner_nll)));
  }

  const EncoderConfig& c_;
  EncoderTrace options_;
  Graph g_;
  Blocks blocks_;
  Blocks::Sequence sequence_;
  std::string prefix_;  // of the copy at hand
  std::map<std::string, Value> inputs_;
  Value lengths_;
};

/// Side of what a 3 × 3 max-pool of stride 2 and padding 1 leaves.
int64_t halved(int64_t side) { return (side - 1) / 2 + 1; }

}  // namespace

int64_t EncoderConfig::category_rows() const {
  return std::accumulate(categories.begin(), categories.end(), int64_t{0});
}

std::string EncoderConfig::copy_prefix(int64_t copy) const {
  return copies == 1 ? std::string() : fmt::format("copies.{}.", copy);
}

EncoderConfig EncoderConfig::single() const {
  EncoderConfig config = *this;
  config.copies = 1;
  return config;
}

int64_t EncoderConfig::image_tokens() const {
  const auto [rows, columns] = image_grid();
  return rows * columns;
}

std::pair<int64_t, int64_t> EncoderConfig::image_grid() const {
  if (!has_image()) return {0, 0};
  if (image.stem == 0) return {image.height / image.patch, image.width / image.patch};
  int64_t rows = image.height;
  int64_t columns = image.width;
  for (int64_t round = 0; round < image.stem; ++round) {
    rows = halved(rows);
    columns = halved(columns);
  }
  return {rows, columns};
}

int64_t EncoderConfig::stem_width(int64_t round) const {
  return std::max<int64_t>(trunk.width >> (image.stem - 1 - round), 8);
}

int64_t EncoderConfig::head_inputs() const {
  const int64_t pooled = (has_text() ? 1 : 0) + (has_image() ? 1 : 0) + (ngram_buckets > 0 ? 1 : 0);
  return (columns() + pooled) * trunk.width;
}

graph::Graph trace_representation(const EncoderConfig& config, const graph::ParameterStore& store,
                                  int64_t batch) {
  config.validate();
  return EncoderTracer(config, store, {.batch = batch}).representation();
}

graph::Graph trace_encoder(const EncoderConfig& config, const graph::ParameterStore& store,
                           const EncoderTrace& options) {
  config.validate();
  return EncoderTracer(config, store, options).run();
}

}  // namespace quern::model
