#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "quern/base/error.h"
#include "quern/formats/json.h"
#include "quern/model/encoder.h"
#include "quern/model/model_config.h"

namespace quern::model {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr int kFormat = 1;

bool is_hugging_face_gpt2(const ModelConfig& c) {
  return c.position == Position::kLearned && c.norm == NormKind::kLayer &&
         c.norm_place == NormPlace::kPre &&
         (c.activation == FeedForward::kGeluTanh || c.activation == FeedForward::kGelu ||
          c.activation == FeedForward::kRelu) &&
         c.bias && !c.scale_embedding && c.ngram_orders == 0 && c.side_slots == 0 &&
         c.heads == c.kv_heads && c.head_dim == 0 && c.causal;
}

bool is_hugging_face_llama(const ModelConfig& c) {
  return c.position == Position::kRope && c.norm == NormKind::kRms &&
         c.norm_place == NormPlace::kPre && c.activation == FeedForward::kSwiglu && !c.bias &&
         !c.scale_embedding && c.ngram_orders == 0 && c.side_slots == 0 && c.causal;
}

template <typename T>
T field(const json& object, const char* key, std::string_view where) {
  const auto found = object.find(key);
  if (found == object.end()) {
    throw FormatError(fmt::format("{}: \"quern\" lacks \"{}\"", where, key),
                      "the file was not written whole; restore it from a copy of the run folder");
  }
  try {
    if constexpr (std::is_same_v<T, int64_t>) {
      if (!found->is_number_integer()) throw FormatError("");
      if (found->is_number_unsigned() && found->template get<uint64_t>() > INT64_MAX)
        throw FormatError("");
    }
    return found->template get<T>();
  } catch (const std::exception&) {
    throw FormatError(fmt::format("{}: \"quern.{}\" has the wrong type", where, key),
                      "restore it from a copy of the run folder");
  }
}

/// A value for a message: one line, not long, whatever the file holds.
std::string excerpt(const json& value) {
  std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 60) + "...";
  return text;
}

/// What only Quern reads: every field.
ordered_json section(const ModelConfig& c) {
  ordered_json json{{"format", kFormat},
                    {"preset", c.preset},
                    {"vocabulary", c.vocabulary},
                    {"layers", c.layers},
                    {"heads", c.heads},
                    {"kv_heads", c.kv_heads},
                    {"width", c.width},
                    {"head_dim", c.head_dim},
                    {"ffn_width", c.ffn_width},
                    {"context", c.context},
                    {"position", name(c.position)},
                    {"norm", name(c.norm)},
                    {"norm_place", name(c.norm_place)},
                    {"activation", name(c.activation)},
                    {"causal", c.causal},
                    {"bias", c.bias},
                    {"tie_embeddings", c.tie_embeddings},
                    {"norm_epsilon", c.norm_epsilon},
                    {"rope_theta", c.rope_theta},
                    {"scale_embedding", c.scale_embedding},
                    {"ngram_orders", c.ngram_orders},
                    {"ngram_buckets", c.ngram_buckets},
                    {"dropout", c.dropout},
                    {"attention_dropout", c.attention_dropout},
                    {"drop_path", c.drop_path},
                    {"label_smoothing", c.label_smoothing}};
  if (c.side_slots > 0) {
    json["side_rows"] = c.side_rows;
    json["side_slots"] = c.side_slots;
    json["entry_dropout"] = c.entry_dropout;
  }
  return json;
}

ModelConfig read_section(const json& q, std::string_view where) {
  if (const auto format = field<int64_t>(q, "format", where); format > kFormat) {
    throw Error(
        "newer_version",
        fmt::format("{}: format {} is newer than this Quern reads ({})", where, format, kFormat),
        "use the Quern that wrote it, or a newer one");
  }
  ModelConfig c;
  c.preset = field<std::string>(q, "preset", where);
  c.vocabulary = field<int64_t>(q, "vocabulary", where);
  c.layers = field<int64_t>(q, "layers", where);
  c.heads = field<int64_t>(q, "heads", where);
  c.kv_heads = field<int64_t>(q, "kv_heads", where);
  c.width = field<int64_t>(q, "width", where);
  c.head_dim = field<int64_t>(q, "head_dim", where);
  c.ffn_width = field<int64_t>(q, "ffn_width", where);
  c.context = field<int64_t>(q, "context", where);
  c.position = parse_position(field<std::string>(q, "position", where));
  c.norm = parse_norm(field<std::string>(q, "norm", where));
  c.norm_place = parse_norm_place(field<std::string>(q, "norm_place", where));
  c.activation = parse_feed_forward(field<std::string>(q, "activation", where));
  c.causal = field<bool>(q, "causal", where);
  c.bias = field<bool>(q, "bias", where);
  c.tie_embeddings = field<bool>(q, "tie_embeddings", where);
  c.norm_epsilon = field<float>(q, "norm_epsilon", where);
  c.rope_theta = field<float>(q, "rope_theta", where);
  c.scale_embedding = field<bool>(q, "scale_embedding", where);
  c.ngram_orders = field<int64_t>(q, "ngram_orders", where);
  c.ngram_buckets = field<int64_t>(q, "ngram_buckets", where);
  c.dropout = field<float>(q, "dropout", where);
  c.attention_dropout = field<float>(q, "attention_dropout", where);
  c.drop_path = field<float>(q, "drop_path", where);
  c.label_smoothing = field<float>(q, "label_smoothing", where);
  if (q.contains("side_slots")) {
    c.side_rows = field<int64_t>(q, "side_rows", where);
    c.side_slots = field<int64_t>(q, "side_slots", where);
    c.entry_dropout = field<float>(q, "entry_dropout", where);
  }
  return c;
}

/// Every field for other programs is written from "quern", so one that differs from what would be
/// written was changed by hand, and there is no telling which of the two the weights follow.
void refuse_contradiction(const json& whole, const ModelConfig& config, std::string_view where) {
  const json written = json::parse(to_json(config));
  for (const auto& [key, expected] : written.items()) {
    const auto found = whole.find(key);
    if (key == "quern" || found == whole.end()) continue;
    const bool same = expected.is_number_float() && found->is_number()
                          ? expected.get<float>() == found->get<float>()  // 1e-5 as others write it
                          : expected == *found;
    if (same) continue;
    throw FormatError(fmt::format("{}: \"{}\" is {}, but the section \"quern\" stands for {}",
                                  where, key, excerpt(*found), excerpt(expected)),
                      "the file was changed by hand; restore it from a copy of the run folder");
  }
}

}  // namespace

std::string to_json(const ModelConfig& c) {
  ordered_json json;
  if (is_hugging_face_gpt2(c)) {
    json["architectures"] = {"GPT2LMHeadModel"};
    json["model_type"] = "gpt2";
    json["vocab_size"] = c.vocabulary;
    json["n_positions"] = c.context;
    json["n_embd"] = c.width;
    json["n_layer"] = c.layers;
    json["n_head"] = c.heads;
    json["n_inner"] = c.ffn_width;
    json["activation_function"] = c.activation == FeedForward::kGeluTanh ? "gelu_new"
                                  : c.activation == FeedForward::kGelu   ? "gelu"
                                                                         : "relu";
    json["layer_norm_epsilon"] = c.norm_epsilon;
    json["resid_pdrop"] = c.dropout;
    json["embd_pdrop"] = c.dropout;
    json["attn_pdrop"] = c.attention_dropout;
  } else if (is_hugging_face_llama(c)) {
    json["architectures"] = {"LlamaForCausalLM"};
    json["model_type"] = "llama";
    json["vocab_size"] = c.vocabulary;
    json["max_position_embeddings"] = c.context;
    json["hidden_size"] = c.width;
    json["num_hidden_layers"] = c.layers;
    json["num_attention_heads"] = c.heads;
    json["num_key_value_heads"] = c.kv_heads;
    json["head_dim"] = c.head_width();
    json["intermediate_size"] = c.ffn_width;
    json["hidden_act"] = "silu";
    json["rms_norm_eps"] = c.norm_epsilon;
    json["rope_theta"] = c.rope_theta;
    json["attention_bias"] = false;
    json["mlp_bias"] = false;
    json["attention_dropout"] = c.attention_dropout;
  } else {
    json["model_type"] = "quern";
    json["vocab_size"] = c.vocabulary;
  }
  json["tie_word_embeddings"] = c.tie_embeddings;
  json["torch_dtype"] = "float32";
  json["quern"] = section(c);
  return json.dump(2) + "\n";
}

ModelConfig config_from_json(std::string_view text, std::string_view where) {
  const json whole = formats::parse_json(text, where);
  const auto ours = whole.is_object() ? whole.find("quern") : whole.end();
  if (ours == whole.end() || !ours->is_object()) {
    throw FormatError(
        fmt::format("{}: no \"quern\" section, so this is no run folder of Quern's", where),
        "give the folder that quern train wrote");
  }
  const json& q = *ours;
  ModelConfig c = read_section(q, where);
  c.validate();
  refuse_contradiction(whole, c, where);
  return c;
}

namespace {

constexpr std::string_view kEncoderType = "quern_encoder";

}  // namespace

std::string to_json(const EncoderConfig& c) {
  ordered_json json;
  json["model_type"] = kEncoderType;
  json["torch_dtype"] = "float32";
  json["quern"] = section(c.trunk);
  json["encoder"] = ordered_json{{"numbers", c.numbers},
                                 {"number_bins", c.number_bins},
                                 {"categories", c.categories},
                                 {"ngram_buckets", c.ngram_buckets},
                                 {"ngram_bag", c.ngram_bag},
                                 {"answer", c.answer == Answer::kClass ? "class" : "value"},
                                 {"outputs", c.outputs},
                                 {"members", c.members},
                                 {"copies", c.copies},
                                 {"head_layers", c.head_layers},
                                 {"head_width", c.head_width},
                                 {"head_dropout", c.head_dropout},
                                 {"linear", c.linear},
                                 {"mixes", c.mixes},
                                 {"image",
                                  {{"height", c.image.height},
                                   {"width", c.image.width},
                                   {"channels", c.image.channels},
                                   {"stem", c.image.stem},
                                   {"patch", c.image.patch}}}};
  return json.dump(2) + "\n";
}

bool is_encoder_json(std::string_view text, std::string_view where) {
  const json whole = formats::parse_json(text, where);
  if (!whole.is_object()) return false;
  const auto type = whole.find("model_type");
  return type != whole.end() && *type == kEncoderType;
}

EncoderConfig encoder_from_json(std::string_view text, std::string_view where) {
  const json whole = formats::parse_json(text, where);
  const auto part = [&](const json& from, const char* key) -> const json& {
    const auto found = from.is_object() ? from.find(key) : from.end();
    if (!from.is_object() || found == from.end() || !found->is_object()) {
      throw FormatError(
          fmt::format("{}: no \"{}\" section, so this is no encoder of Quern's", where, key),
          "restore it from a copy of the run folder");
    }
    return *found;
  };
  EncoderConfig c;
  c.trunk = read_section(part(whole, "quern"), where);
  const json& e = part(whole, "encoder");
  c.numbers = field<int64_t>(e, "numbers", where);
  c.number_bins = field<int64_t>(e, "number_bins", where);
  c.categories = field<std::vector<int64_t>>(e, "categories", where);
  c.ngram_buckets = field<int64_t>(e, "ngram_buckets", where);
  c.ngram_bag = field<int64_t>(e, "ngram_bag", where);
  const auto answer = field<std::string>(e, "answer", where);
  if (answer != "class" && answer != "value") {
    throw FormatError(fmt::format("{}: \"encoder.answer\" is neither class nor value", where),
                      "restore it from a copy of the run folder");
  }
  c.answer = answer == "class" ? Answer::kClass : Answer::kValue;
  c.outputs = field<int64_t>(e, "outputs", where);
  c.members = field<int64_t>(e, "members", where);
  if (e.contains("copies")) c.copies = field<int64_t>(e, "copies", where);
  c.head_layers = field<int64_t>(e, "head_layers", where);
  c.head_width = field<int64_t>(e, "head_width", where);
  c.head_dropout = field<float>(e, "head_dropout", where);
  c.linear = e.contains("linear") && field<bool>(e, "linear", where);
  c.mixes = field<bool>(e, "mixes", where);
  const json& image = part(e, "image");
  c.image.height = field<int64_t>(image, "height", where);
  c.image.width = field<int64_t>(image, "width", where);
  c.image.channels = field<int64_t>(image, "channels", where);
  c.image.stem = field<int64_t>(image, "stem", where);
  c.image.patch = field<int64_t>(image, "patch", where);
  c.validate();
  return c;
}

}  // namespace quern::model
