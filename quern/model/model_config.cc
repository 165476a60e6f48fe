#include "quern/model/model_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "quern/base/error.h"
#include "quern/base/strings.h"
#include "quern/graph/store.h"
#include "quern/model/decoder.h"

namespace quern::model {
namespace {

template <typename T>
using Names = std::vector<std::pair<std::string, T>>;

const Names<Position>& position_names() {
  static const Names<Position> names = {{"sinusoidal", Position::kSinusoidal},
                                        {"learned", Position::kLearned},
                                        {"rope", Position::kRope},
                                        {"alibi", Position::kAlibi},
                                        {"none", Position::kNone}};
  return names;
}
const Names<NormKind>& norm_names() {
  static const Names<NormKind> names = {{"layer", NormKind::kLayer}, {"rms", NormKind::kRms}};
  return names;
}
const Names<NormPlace>& norm_place_names() {
  static const Names<NormPlace> names = {
      {"pre", NormPlace::kPre}, {"post", NormPlace::kPost}, {"article", NormPlace::kArticle}};
  return names;
}
const Names<FeedForward>& feed_forward_names() {
  static const Names<FeedForward> names = {
      {"relu", FeedForward::kRelu},          {"gelu", FeedForward::kGelu},
      {"gelu_tanh", FeedForward::kGeluTanh}, {"swiglu", FeedForward::kSwiglu},
      {"geglu", FeedForward::kGeglu},        {"reglu", FeedForward::kReglu}};
  return names;
}

template <typename T>
T parse(const Names<T>& names, std::string_view key, std::string_view text) {
  std::vector<std::string> known;
  for (const auto& [name, value] : names) {
    if (name == text) return value;
    known.push_back(name);
  }
  const auto near = nearest(text, known);
  throw UsageError("bad_value", fmt::format("{} = \"{}\" is not known", key, text),
                   near ? fmt::format("did you mean \"{}\"?", *near)
                        : fmt::format("choose one of: {}", fmt::join(known, ", ")));
}

template <typename T>
std::string_view name_in(const Names<T>& names, T value) {
  for (const auto& entry : names) {
    if (entry.second == value) return entry.first;
  }
  return "?";
}

[[noreturn]] void refuse(const std::string& message, const std::string& hint) {
  throw UsageError("bad_model", message, hint);
}

}  // namespace

std::string_view name(Position value) { return name_in(position_names(), value); }
std::string_view name(NormKind value) { return name_in(norm_names(), value); }
std::string_view name(NormPlace value) { return name_in(norm_place_names(), value); }
std::string_view name(FeedForward value) { return name_in(feed_forward_names(), value); }
Position parse_position(std::string_view text) {
  return parse(position_names(), "model.position", text);
}
NormKind parse_norm(std::string_view text) { return parse(norm_names(), "model.norm", text); }
NormPlace parse_norm_place(std::string_view text) {
  return parse(norm_place_names(), "model.norm_place", text);
}
FeedForward parse_feed_forward(std::string_view text) {
  return parse(feed_forward_names(), "model.activation", text);
}

bool is_gated(FeedForward value) {
  return value == FeedForward::kSwiglu || value == FeedForward::kGeglu ||
         value == FeedForward::kReglu;
}

kernels::Activation activation_of(FeedForward value) {
  switch (value) {
    case FeedForward::kRelu:
    case FeedForward::kReglu:
      return kernels::Activation::kRelu;
    case FeedForward::kGelu:
    case FeedForward::kGeglu:
      return kernels::Activation::kGelu;
    case FeedForward::kGeluTanh:
      return kernels::Activation::kGeluTanh;
    case FeedForward::kSwiglu:
      return kernels::Activation::kSilu;
  }
  return kernels::Activation::kNone;
}

void ModelConfig::validate() const {
  // Caps keep every product of extents far inside 64 bits, whatever a foreign config.json says.
  const std::array<std::pair<const char*, int64_t>, 7> extents = {{{"vocabulary", vocabulary},
                                                                   {"layers", layers},
                                                                   {"heads", heads},
                                                                   {"kv_heads", kv_heads},
                                                                   {"width", width},
                                                                   {"ffn_width", ffn_width},
                                                                   {"context", context}}};
  for (const auto& [key, value] : extents) {
    if (value < 1 || value > (int64_t{1} << 24)) {
      refuse(fmt::format("model.{} = {} is out of range", key, value),
             "give a value from 1 to 16777216");
    }
  }
  if (layers > 4096)
    refuse(fmt::format("model.layers = {} is out of range", layers), "give at most 4096");
  if (head_dim < 0 || head_dim > 65536) {
    refuse(fmt::format("model.head_dim = {} is out of range", head_dim),
           "leave it out, or give at most 65536");
  }
  if (head_dim == 0 && width % heads != 0) {
    refuse(
        fmt::format("model.width = {} is not divisible by model.heads = {}", width, heads),
        fmt::format("set model.width={} or another number of heads", (width / heads + 1) * heads));
  }
  if (heads % kv_heads != 0) {
    refuse(fmt::format("model.heads = {} is not divisible by model.kv_heads = {}", heads, kv_heads),
           "several query heads share one key-value head: heads must be a multiple of kv_heads");
  }
  if (position == Position::kRope && head_width() % 2 != 0) {
    refuse(fmt::format("rotary positions need an even head width, and it is {}", head_width()),
           "change model.width or model.heads, or set model.position=learned");
  }
  const std::array<std::pair<const char*, float>, 4> rates = {
      {{"dropout", dropout},
       {"attention_dropout", attention_dropout},
       {"drop_path", drop_path},
       {"label_smoothing", label_smoothing}}};
  for (const auto& [key, value] : rates) {
    if (!(value >= 0 && value < 1)) {
      refuse(fmt::format("regularise.{} = {} is out of range", key, value),
             "give a rate from 0 to below 1");
    }
  }
  if (!(norm_epsilon > 0 && norm_epsilon < 1)) {
    refuse(fmt::format("norm epsilon {} is out of range", norm_epsilon),
           "give a small positive number");
  }
  if (!(rope_theta > 1) || !std::isfinite(rope_theta)) {
    refuse(fmt::format("rope theta {} is out of range", rope_theta),
           "give a number above 1, such as 10000");
  }
  if (ngram_orders < 0 || ngram_orders > 8 || ngram_buckets < 0 ||
      ngram_buckets > (int64_t{1} << 24) || (ngram_orders > 0) != (ngram_buckets > 0)) {
    refuse(fmt::format("model.ngram_orders = {} with model.ngram_buckets = {} cannot be",
                       ngram_orders, ngram_buckets),
           "give both (orders 1 to 8, buckets 1 to 16777216) or neither");
  }
  if (side_rows < 0 || side_slots < 0 || side_slots > 1024 || (side_rows > 0) != (side_slots > 0) ||
      side_rows > (int64_t{1} << 24) || !(entry_dropout >= 0 && entry_dropout < 1)) {
    refuse(fmt::format("side columns of {} rows in {} slots cannot be", side_rows, side_slots),
           "restore config.json");
  }
}

void apply_preset(ModelConfig& config, std::string_view preset) {
  if (preset == "article") {
    config.position = Position::kSinusoidal;
    config.norm = NormKind::kLayer;
    config.norm_place = NormPlace::kArticle;
    config.activation = FeedForward::kRelu;
    config.bias = true;
    config.scale_embedding = true;
  } else if (preset == "gpt2") {
    config.position = Position::kLearned;
    config.norm = NormKind::kLayer;
    config.norm_place = NormPlace::kPre;
    config.activation = FeedForward::kGeluTanh;
    config.bias = true;
    config.scale_embedding = false;
  } else if (preset == "llama") {
    config.position = Position::kRope;
    config.norm = NormKind::kRms;
    config.norm_place = NormPlace::kPre;
    config.activation = FeedForward::kSwiglu;
    config.bias = false;
    config.scale_embedding = false;
  } else if (preset == "sasrec") {
    // Kang & McAuley 2018, with the pre-norm block and GELU of later use.
    config.position = Position::kLearned;
    config.norm = NormKind::kLayer;
    config.norm_place = NormPlace::kPre;
    config.activation = FeedForward::kGelu;
    config.bias = true;
    config.scale_embedding = false;
  } else if (preset == "ft-transformer" || preset == "bert" || preset == "vit") {
    // Encoders: columns have no order, and text takes learned positions at its input.
    const bool text = preset == "bert";
    config.position = Position::kNone;
    config.norm = NormKind::kLayer;
    config.norm_place = text ? NormPlace::kPost : NormPlace::kPre;
    config.activation = preset == "ft-transformer" ? FeedForward::kReglu : FeedForward::kGelu;
    config.bias = true;
    config.causal = false;
    config.scale_embedding = false;
  } else {
    const std::vector<std::string> known = {"article", "gpt2",   "llama", "ft-transformer",
                                            "bert",    "sasrec", "vit"};
    const auto near = nearest(preset, known);
    throw UsageError("bad_value", fmt::format("model.preset = \"{}\" is not known", preset),
                     near ? fmt::format("did you mean \"{}\"?", *near)
                          : "choose article, gpt2, llama, ft-transformer, bert, sasrec or vit");
  }
  config.preset = preset;
  config.tie_embeddings = true;
}

int64_t default_ffn_width(const ModelConfig& config) {
  if (!is_gated(config.activation)) return 4 * config.width;
  // Three matrices instead of two: 8/3 of the width keeps the parameters (Shazeer 2020), rounded up
  // to 32.
  return (8 * config.width / 3 + 31) / 32 * 32;
}

void apply_size(ModelConfig& config, std::string_view size) {
  struct Row {
    std::string_view name;
    int64_t layers, heads, width, context;
  };
  constexpr std::array<Row, 4> kSizes = {{{"tiny", 4, 4, 128, 128},
                                          {"small", 6, 6, 384, 256},
                                          {"base", 12, 12, 768, 1024},
                                          {"large", 24, 16, 1024, 1024}}};
  const auto row =
      std::find_if(kSizes.begin(), kSizes.end(), [&](const Row& r) { return r.name == size; });
  if (row == kSizes.end()) {
    throw UsageError("bad_value", fmt::format("model.size = \"{}\" is not known", size),
                     "choose tiny, small, base or large");
  }
  config.layers = row->layers;
  config.heads = config.kv_heads = row->heads;
  config.width = row->width;
  config.context = row->context;
  config.ffn_width = default_ffn_width(config);
}

int64_t count_parameters(const ModelConfig& config) {
  graph::ParameterStore store;
  declare_parameters(config, store);
  return store.count();
}

double training_flops_per_token(const ModelConfig& config) {
  const double width = static_cast<double>(config.width);
  const double head = static_cast<double>(config.head_width());
  const double query = head * static_cast<double>(config.heads);
  const double qkv = query + 2 * head * static_cast<double>(config.kv_heads);
  const double ffn = static_cast<double>(config.ffn_width) * (is_gated(config.activation) ? 3 : 2);
  const double layers = static_cast<double>(config.layers);
  const double matmul =
      layers * width * (qkv + query + ffn) + width * static_cast<double>(config.vocabulary);
  const double attention =
      layers * static_cast<double>(config.context) * query * (config.causal ? 6 : 12);
  return 6 * matmul + attention;
}

}  // namespace quern::model
