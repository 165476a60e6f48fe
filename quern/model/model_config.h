#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "quern/kernels/activation.h"

namespace quern::model {

enum class Position : uint8_t { kSinusoidal, kLearned, kRope, kAlibi, kNone };
enum class NormKind : uint8_t { kLayer, kRms };
/// kPre: x + f(norm(x)). kPost: norm(x + f(x)). kArticle: x = norm(x); x = f(x) + x, so that the
/// residual starts from the normalised value.
enum class NormPlace : uint8_t { kPre, kPost, kArticle };
enum class FeedForward : uint8_t { kRelu, kGelu, kGeluTanh, kSwiglu, kGeglu, kReglu };

/// Everything that fixes a decoder's graph. Names as in the configuration keys of section [model].
struct ModelConfig {
  std::string preset = "llama";
  int64_t vocabulary = 0;
  int64_t layers = 4, heads = 4, kv_heads = 4, width = 128, head_dim = 0 /* 0: width / heads */;
  int64_t ffn_width = 512, context = 256;
  Position position = Position::kRope;
  NormKind norm = NormKind::kRms;
  NormPlace norm_place = NormPlace::kPre;
  FeedForward activation = FeedForward::kSwiglu;
  bool causal = true;
  bool bias = false;
  bool tie_embeddings = true;
  float norm_epsilon = 1e-5F;
  float rope_theta = 10000.0F;
  bool scale_embedding = false;  // by √width, as the Transformer paper does
  // Hashed n-gram embeddings added to the input: orders 2 … ngram_orders + 1; 0: off.
  int64_t ngram_orders = 0;
  int64_t ngram_buckets = 0;
  // Side columns of the vocabulary (of items): so many rows of their own table are added up for
  // each entry, beside the entry's own; 0: none.
  int64_t side_rows = 0, side_slots = 0;

  // Regularisation that is part of the training graph only.
  float dropout = 0, attention_dropout = 0, drop_path = 0, label_smoothing = 0;
  float entry_dropout = 0;  // rate of hiding an entry's own row, so that its side columns speak

  int64_t head_width() const { return head_dim != 0 ? head_dim : width / heads; }
  /// Throws UsageError naming the key and the rule (width divisible by heads, heads by kv_heads,
  /// …).
  void validate() const;
};

/// The preset's own choices (position, norm, activation, bias, ties), sizes untouched: the decoders
/// "article", "gpt2", "llama", "sasrec"; the encoders "ft-transformer", "bert", "vit". Throws
/// UsageError naming the known ones.
void apply_preset(ModelConfig& config, std::string_view preset);

/// Whether the feed-forward network has a gate beside its value, and what acts on the gate (or the
/// value).
bool is_gated(FeedForward value);
kernels::Activation activation_of(FeedForward value);
/// 4·width, or 8/3 of it rounded up to 32 for a gated network.
int64_t default_ffn_width(const ModelConfig& config);

/// "tiny", "small", "base", "large": layers, heads, width, ffn_width and context together (one
/// dial).
void apply_size(ModelConfig& config, std::string_view size);

std::string_view name(Position value);
std::string_view name(NormKind value);
std::string_view name(NormPlace value);
std::string_view name(FeedForward value);
Position parse_position(std::string_view text);
NormKind parse_norm(std::string_view text);
NormPlace parse_norm_place(std::string_view text);
FeedForward parse_feed_forward(std::string_view text);

/// The run folder's config.json, in the Hugging Face spelling where one exists (model_type gpt2,
/// llama), ours beside it under "quern". Reading validates; throws FormatError or UsageError.
std::string to_json(const ModelConfig& config);
ModelConfig config_from_json(std::string_view text, std::string_view where);

/// Parameters of the model: what the ParameterStore will count.
int64_t count_parameters(const ModelConfig& config);
/// Training floating-point operations a token: 6·N_matmul + 6·layers·width·context (causal).
double training_flops_per_token(const ModelConfig& config);

}  // namespace quern::model
