#include "quern/run/defaults.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

#include "quern/base/error.h"
#include "quern/base/progress.h"
#include "quern/data/number.h"

namespace quern::run {
namespace {

/// One row a size and time budget: what is best within it on two cores.
struct Row {
  std::string_view size;
  double seconds;  // holds up to this budget
  int64_t layers, heads, width, context, batch;
  double learning_rate;
  double dropout;
};
constexpr double kAny = std::numeric_limits<double>::max();
constexpr std::array<Row, 6> kRows = {{
    {"tiny", 300, 4, 4, 128, 128, 16, 4e-3, 0.0},
    {"tiny", kAny, 4, 4, 192, 128, 16, 3e-3, 0.1},
    {"small", 1800, 6, 6, 384, 128, 16, 2e-3, 0.1},
    {"small", kAny, 6, 6, 384, 256, 16, 2e-3, 0.2},
    {"base", kAny, 12, 12, 768, 512, 16, 6e-4, 0.1},
    {"large", kAny, 24, 16, 1024, 1024, 16, 3e-4, 0.1},
}};

constexpr uint64_t kFewPictures = 3000;

const Row& row_for(std::string_view size, double seconds) {
  return *std::find_if(kRows.begin(), kRows.end(),
                       [&](const Row& row) { return row.size == size && seconds <= row.seconds; });
}

/// The time that the row is chosen for: the budget, or without one, no bound.
double budget(const Options& options) {
  const double seconds = options.duration("train.time");
  return seconds > 0 ? seconds : kAny;
}

void decide_size(Options& options, const TextFacts& facts) {
  if (options.is_auto("model.preset")) {
    options.set("model.preset", "llama", Layer::kData, "text to continue");
  }
  if (options.integer("train.steps") == 0 && options.number("train.epochs") == 0 &&
      options.text("train.time").empty()) {
    options.set("train.time", "10m", Layer::kData, "no --time, --steps or --epochs given");
  }
  if (options.is_auto("model.size")) {
    const bool small = facts.bytes > 20'000'000 && budget(options) > 3600;
    options.set("model.size", small ? "small" : "tiny", Layer::kData,
                fmt::format("{} of text", format_bytes(static_cast<double>(facts.bytes))));
  }
}

void decide_by_size(Options& options) {
  const std::string who = std::string(options.text("model.size"));
  const Row& row = row_for(who, budget(options));
  const auto set = [&](std::string_view key, auto value) {
    options.set(key, value, Layer::kSize, who);
  };
  set("model.layers", row.layers);
  set("model.heads", row.heads);
  set("model.width", row.width);
  set("model.context", row.context);
  set("train.batch", row.batch);
  set("train.learning_rate", row.learning_rate);
  set("regularise.dropout", row.dropout);
  set("regularise.attention_dropout", 0.0);
  set("regularise.weight_decay", 0.1);
  set("train.optimizer", "muon");
  set("train.beta2", 0.95);
  set("regularise.ema", 0.0);
  set("model.ngram_orders", int64_t{0});
  set("model.ngram_buckets", int64_t{0});
}

void decide_by_preset(Options& options) {
  model::ModelConfig config;
  const std::string preset(options.text("model.preset"));
  model::apply_preset(config, preset);
  const auto set = [&](std::string_view key, std::string_view value) {
    options.set(key, value, Layer::kPreset, preset);
  };
  set("model.position", model::name(config.position));
  set("model.norm", model::name(config.norm));
  set("model.norm_place", model::name(config.norm_place));
  set("model.activation", model::name(config.activation));
  set("model.bias", config.bias ? "true" : "false");
  set("model.tie_embeddings", config.tie_embeddings ? "true" : "false");
}

void decide_by_data(Options& options, const TextFacts& facts) {
  // One token a KiB of text: rarer tokens are seen too seldom to be learnt.
  const uint64_t vocabulary =
      std::clamp<uint64_t>(std::bit_floor(std::max<uint64_t>(facts.bytes / 1024, 1)), 512, 16384);
  options.set("tokenizer.vocabulary", static_cast<int64_t>(vocabulary), Layer::kData,
              fmt::format("{} of text", format_bytes(static_cast<double>(facts.bytes))));
}

/// What follows from keys decided before.
void decide_dependent(Options& options) {
  options.set("model.kv_heads", options.integer("model.heads"), Layer::kData, "as many as heads");
  model::ModelConfig config;
  config.width = options.integer("model.width");
  config.activation = model::parse_feed_forward(options.text("model.activation"));
  options.set("model.ffn_width", model::default_ffn_width(config), Layer::kData,
              "from width and activation");
  options.set("train.min_learning_rate", options.number("train.learning_rate") * 0.1, Layer::kData,
              "a tenth of the peak");
}

/// What decoder and encoder share.
model::ModelConfig trunk_config(const Options& options) {
  model::ModelConfig config;
  model::apply_preset(config, options.text("model.preset"));
  config.layers = options.integer("model.layers");
  config.heads = options.integer("model.heads");
  config.kv_heads = options.integer("model.kv_heads");
  config.width = options.integer("model.width");
  config.ffn_width = options.integer("model.ffn_width");
  config.context = options.integer("model.context");
  config.position = model::parse_position(options.text("model.position"));
  config.norm = model::parse_norm(options.text("model.norm"));
  config.norm_place = model::parse_norm_place(options.text("model.norm_place"));
  config.activation = model::parse_feed_forward(options.text("model.activation"));
  config.bias = options.boolean("model.bias");
  config.tie_embeddings = options.boolean("model.tie_embeddings");
  config.ngram_orders = options.integer("model.ngram_orders");
  config.ngram_buckets = options.integer("model.ngram_buckets");
  config.dropout = static_cast<float>(options.number("regularise.dropout"));
  config.attention_dropout = static_cast<float>(options.number("regularise.attention_dropout"));
  config.drop_path = static_cast<float>(options.number("regularise.drop_path"));
  config.label_smoothing = static_cast<float>(options.number("regularise.label_smoothing"));
  return config;
}

}  // namespace

void decide_text(Options& options, const TextFacts& facts) {
  decide_size(options, facts);
  decide_by_preset(options);
  decide_by_size(options);
  decide_by_data(options, facts);
  decide_dependent(options);
}

namespace {

/// Augmentation makes up for pictures that are missing; where there are many, it takes time from
/// them.
void decide_picture_noise(Options& options, const RowFacts& facts) {
  const bool few = facts.rows < kFewPictures;
  const std::string why = few ? fmt::format("fewer than {} rows", kFewPictures)
                              : fmt::format("{} rows or more", kFewPictures);
  const auto set = [&](std::string_view key, auto value) {
    options.set(key, value, Layer::kData, why);
  };
  if (options.text("regularise.augment") == "auto")
    set("regularise.augment", std::string_view(few ? "strong" : "light"));
  const std::string level(options.text("regularise.augment"));
  options.set("regularise.randaugment", level == "strong" ? 5.0 : 0.0, Layer::kData,
              "augment = " + level);
  const bool mixes = level == "strong" && facts.classify;
  options.set("regularise.mixup", mixes ? 0.2 : 0.0, Layer::kData, "augment = " + level);
  options.set("regularise.cutmix", mixes ? 0.3 : 0.0, Layer::kData, "augment = " + level);
}

constexpr size_t kManyRows = 10000;

/// A linear model is the better half of what few rows say; many rows of columns say more than it
/// sees, and training that starts from it stops early (bench/tables.py: Adult, bank, California).
bool starts_from_linear(const RowFacts& facts) {
  if (facts.rows < 20) return false;
  return facts.text || (facts.columns > 0 && facts.rows < kManyRows);
}

/// Masked rows teach a model of many rows what an explanation asks, at no cost in accuracy; where
/// the answer starts from a linear model they change next to nothing, and texts and pictures lose
/// accuracy by them (bench/masked_inputs.py).
double masked_share(const RowFacts& facts) {
  const bool columns = facts.columns > 0 && !facts.text && facts.picture_side == 0;
  return columns && facts.rows >= kManyRows ? 0.1 : 0.0;
}

void decide_row_size(Options& options, const RowFacts& facts) {
  const bool small = facts.rows < 3000;
  const bool pictures = facts.picture_side > 0;
  const auto by_data = [&](std::string_view key, auto value) {
    options.set(key, value, Layer::kData, fmt::format("{} rows", facts.rows));
  };
  if (options.is_auto("model.preset")) {
    options.set("model.preset",
                pictures     ? "vit"
                : facts.text ? "bert"
                             : "ft-transformer",
                Layer::kData,
                pictures     ? "pictures"
                : facts.text ? "texts"
                             : "columns");
  }
  if (options.is_auto("model.size")) by_data("model.size", std::string_view("tiny"));
  const std::string size(options.text("model.size"));
  const auto by_size = [&](std::string_view key, auto value) {
    options.set(key, value, Layer::kSize, size);
  };
  const int64_t step = size == "tiny" ? 1 : size == "small" ? 2 : size == "base" ? 4 : 8;
  by_size("model.width", (facts.text ? 64 : 32) * step);
  by_size("model.heads", int64_t{4});
  by_size("model.layers", size == "tiny" ? int64_t{2} : int64_t{3});
  by_size("model.head_layers", int64_t{2});
  by_size("model.head_width", (facts.text ? 64 : 128) * step);
  by_size("train.learning_rate", size == "tiny" && !facts.text ? 2e-3 : 1e-3);
  by_size("train.optimizer", std::string_view("adamw"));
  by_size("train.beta2", 0.999);
  by_size("regularise.weight_decay", 0.02);
  by_data("train.batch", small || facts.text ? int64_t{64} : int64_t{256});
  by_data("regularise.dropout", 0.1);
  by_data("regularise.attention_dropout", 0.1);
  by_data("regularise.head_dropout", small ? 0.3 : 0.1);
  by_data("regularise.column_dropout", 0.0);
  by_data("regularise.masked_inputs", masked_share(facts));
  by_data("regularise.ema", small ? 0.99 : 0.995);
  by_data("regularise.ensemble", facts.text ? int64_t{4} : int64_t{16});
  by_data("data.folds", facts.folds);
  by_data("model.context", std::clamp<int64_t>(static_cast<int64_t>(facts.bytes) / 3, 16, 256));
  by_data("model.ngram_buckets", facts.text ? int64_t{1} << 16 : int64_t{0});
  by_data("model.ngram_orders", int64_t{0});
  by_data("model.linear", std::string_view(starts_from_linear(facts) ? "true" : "false"));
  by_data("tokenizer.vocabulary", int64_t{2048});
  // What pictures want otherwise.
  if (pictures) {
    by_data("model.image_size", int64_t{0});
    by_data("model.patch", int64_t{4});
    // Down to about 49 tokens.
    int64_t rounds = 0;
    for (int64_t side = facts.picture_side; side > 8; side = (side + 1) / 2) ++rounds;
    by_data("model.stem", std::max<int64_t>(rounds, 1));
    by_size("model.width", size == "tiny"    ? int64_t{64}
                           : size == "small" ? int64_t{128}
                                             : int64_t{256});
    by_size("model.layers", size == "tiny" ? int64_t{4} : int64_t{7});
    by_size("model.head_layers", int64_t{0});
    by_size("train.learning_rate", 1e-3);
    by_size("train.beta2", 0.999);
    by_size("regularise.weight_decay", 0.06);
    by_size("regularise.label_smoothing", 0.1);
    by_data("train.batch", int64_t{64});
    by_data("regularise.dropout", 0.0);
    by_data("regularise.attention_dropout", 0.1);
    by_data("regularise.head_dropout", 0.0);
    by_data("regularise.ensemble", int64_t{1});
    by_data("regularise.ema", small ? 0.99 : 0.998);
    decide_picture_noise(options, facts);
  } else {
    for (const char* key : {"regularise.randaugment", "regularise.mixup", "regularise.cutmix"})
      by_data(key, 0.0);
  }
}

}  // namespace

double validation_share(const Options& options) {
  const auto share = data::parse_number(options.text("data.validation"));
  if (share && *share > 0 && *share < 1) return *share;
  throw UsageError("bad_value",
                   fmt::format("data.validation = '{}' is no share between 0 and 1",
                               options.text("data.validation")),
                   "give a fraction, as 0.1: the best step is chosen on what is held out");
}

int64_t folds_of(const Options& options, size_t rows, bool pictures) {
  if (!options.is_auto("data.folds")) return options.integer("data.folds");
  constexpr size_t kFewest = 100;
  constexpr size_t kFew = 5000;
  const bool open = !options.is_explicit("data.validation") && options.text("data.split") == "auto";
  return open && !pictures && rows >= kFewest && rows < kFew ? 5 : 1;
}

void decide_rows(Options& options, const RowFacts& facts) {
  if (options.integer("train.steps") == 0 && options.number("train.epochs") == 0 &&
      options.text("train.time").empty()) {
    const bool many = facts.picture_side > 0 && facts.rows >= kFewPictures;
    options.set("train.time", many ? "15m" : "4m", Layer::kData,
                many ? fmt::format("{} pictures, and no --time, --steps or --epochs", facts.rows)
                     : "no --time, --steps or --epochs given");
  }
  decide_row_size(options, facts);
  decide_by_preset(options);
  decide_dependent(options);
}

namespace {

/// All items while their logits cost little beside the layers; else candidates, half of them drawn.
void decide_candidates(Options& options, uint64_t items) {
  const int64_t targets = options.integer("train.batch") / options.integer("train.accumulate") *
                          options.integer("model.context");
  const bool sampled = items > static_cast<uint64_t>(8 * targets);
  options.set("train.candidates", sampled ? 2 * targets : int64_t{0}, Layer::kData,
              fmt::format("{} items, {} targets a step: {}", items, targets,
                          sampled ? "a sampled softmax" : "the whole softmax is cheap"));
}

}  // namespace

void decide_recommend(Options& options, const LogFacts& facts) {
  const auto by_data = [&](std::string_view key, auto value, const std::string& reason) {
    options.set(key, value, Layer::kData, reason);
  };
  if (options.integer("train.steps") == 0 && options.number("train.epochs") == 0 &&
      options.text("train.time").empty()) {
    by_data("train.time", std::string_view("5m"), "no --time, --steps or --epochs given");
  }
  if (options.is_auto("model.preset"))
    by_data("model.preset", std::string_view("sasrec"), "a log of items");
  if (options.is_auto("model.size"))
    by_data("model.size", std::string_view("tiny"), fmt::format("{} items", facts.items));
  const std::string size(options.text("model.size"));
  const auto by_size = [&](std::string_view key, auto value) {
    options.set(key, value, Layer::kSize, size);
  };
  const int64_t step = size == "tiny" ? 1 : size == "small" ? 2 : size == "base" ? 4 : 8;
  by_size("model.layers", int64_t{2});
  by_size("model.heads", 2 * step);
  by_size("model.width", 64 * step);
  by_size("train.batch", int64_t{64});
  by_size("train.learning_rate", 1e-3);
  by_size("train.optimizer", std::string_view("adamw"));
  by_size("train.beta2", 0.98);
  by_size("regularise.weight_decay", 0.01);
  by_size("regularise.dropout", 0.2);
  by_size("regularise.attention_dropout", 0.2);
  by_size("regularise.ema", 0.0);
  by_size("model.ngram_orders", int64_t{0});
  by_size("model.ngram_buckets", int64_t{0});
  // Kang & McAuley 2018: 50, and 200 for dense logs.
  by_data("model.context", facts.typical_length >= 100 ? int64_t{200} : int64_t{50},
          fmt::format("half of the users have {} interactions or more", facts.typical_length));
  decide_by_preset(options);
  decide_dependent(options);
  decide_candidates(options, facts.items);
}

model::EncoderConfig encoder_config(const Options& options) {
  model::EncoderConfig config;
  config.trunk = trunk_config(options);
  config.trunk.causal = false;
  config.ngram_buckets = options.integer("model.ngram_buckets");
  config.ngram_bag = config.ngram_buckets > 0 ? 256 : 0;
  config.trunk.ngram_buckets = config.trunk.ngram_orders = 0;
  config.image.stem = options.is_auto("model.stem") ? 0 : options.integer("model.stem");
  config.image.patch = options.is_auto("model.patch") ? 0 : options.integer("model.patch");
  config.linear = options.boolean("model.linear");
  config.members = options.integer("regularise.ensemble");
  config.head_layers = options.integer("model.head_layers");
  config.head_width = options.integer("model.head_width");
  config.head_dropout = static_cast<float>(options.number("regularise.head_dropout"));
  return config;
}

model::ModelConfig model_config(const Options& options, int64_t vocabulary) {
  model::ModelConfig config = trunk_config(options);
  config.vocabulary = vocabulary;
  config.validate();
  return config;
}

}  // namespace quern::run
