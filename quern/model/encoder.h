#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "quern/graph/graph.h"
#include "quern/graph/store.h"
#include "quern/model/blocks.h"
#include "quern/model/model_config.h"

namespace quern::model {

/// What the network answers with.
enum class Answer : uint8_t {
  kClass,  // one of `outputs`: cross-entropy
  kValue,  // one number: squared error of the standardised target
};

/// Pictures as tokens: a convolutional stem (Hassani et al. 2021, "Escaping the Big Data
/// Paradigm"), or plain patches.
struct ImageInput {
  int64_t height = 0, width = 0, channels = 0;  // 0: no pictures
  int64_t stem = 0;   // rounds of convolution 3 × 3, ReLU and max-pool 3 × 3 of stride 2
  int64_t patch = 0;  // without a stem: pixels of a patch's side
};

/// Everything that fixes an encoder's graph: a record (columns, a text, or both)
/// becomes one sequence of tokens, passes the transformer's blocks, and is answered by an ensemble
/// of heads that share their weights.
struct EncoderConfig {
  ModelConfig trunk;  // layers … activation, regularisation; vocabulary: of the text, 0: none;
                      // context: tokens of text
  // Columns: one token each.
  int64_t numbers = 0;      // number columns
  int64_t number_bins = 0;  // inputs of each: pieces of the piecewise-linear code, and "missing"
  std::vector<int64_t> categories;  // values of each category column, "unknown" included
  int64_t ngram_buckets = 0;        // bag of hashed n-grams of the text beside attention; 0: none
  int64_t ngram_bag = 0;            // its capacity

  ImageInput image;

  Answer answer = Answer::kClass;
  int64_t outputs = 2;
  int64_t members = 1;      // of the ensemble (Gorishniy et al. 2025, "TabM", the mini variant)
  int64_t copies = 1;       // whole models side by side, each trained without one fold of the rows
  int64_t head_layers = 1;  // hidden layers of the head; 0: linear
  int64_t head_width = 128;
  float head_dropout = 0;
  bool linear = false;  // the answer starts from a linear model's scores, an input
  bool mixes = false;   // mixup or cutmix: the training graph takes a partner's label too

  bool has_text() const { return trunk.vocabulary > 0; }
  bool has_image() const { return image.height > 0; }
  int64_t image_tokens() const;
  /// Tokens of a picture down and across it.
  std::pair<int64_t, int64_t> image_grid() const;
  /// Channels that round `round` of the stem gives: the width, halved for each round before the
  /// last.
  int64_t stem_width(int64_t round) const;
  int64_t category_rows() const;  // of the one table of all category columns
  int64_t columns() const { return numbers + static_cast<int64_t>(categories.size()); }
  int64_t head_inputs() const;  // width of the vector that the head sees
  /// Answers to one row: of all members of all copies.
  int64_t answers() const { return copies * members; }
  /// What stands before a copy's parameter names: "copies.N.", or nothing where there is one.
  std::string copy_prefix(int64_t copy) const;
  /// One copy alone.
  EncoderConfig single() const;
  /// Throws UsageError naming the key and the rule.
  void validate() const;
};

/// The run folder's config.json of an encoder.
std::string to_json(const EncoderConfig& config);
/// Validates; throws FormatError or UsageError.
EncoderConfig encoder_from_json(std::string_view text, std::string_view where);
/// Whether a config.json is an encoder's.
bool is_encoder_json(std::string_view text, std::string_view where);

/// Names: embed.number.{weight (N,C,bins),bias (N,C)}; embed.category (rows,C) with
/// embed.category_bias (columns,C); embed.weight (V,C), embed.position (T,C) of text;
/// embed.image.stem.N.weight (C_N,9·C_before) or embed.image.{weight,bias}, embed.image.position
/// (tokens,C), pool.image.{weight (1,C),bias}; embed.ngram (buckets,C); layers.…; norm.…;
/// head.linear (k,outputs); head.scale (k,F), head.N.{weight,bias}, head.out.{weight
/// (k,outputs,H),bias (k,outputs)}; of several copies each after its copy_prefix().
void declare_encoder(const EncoderConfig& config, graph::ParameterStore& store);
void initialise_encoder(const EncoderConfig& config, graph::ParameterStore& store, uint64_t seed);

/// Traces the encoder. Inputs, each where the configuration asks for it: "numbers" (B,N,bins) f32,
/// "categories" (B,columns) i32 rows of the table (-1: unknown), "image" (B,H,W,C) f32, "ids" (B,T)
/// i32 and "lengths" (B) i32 (beside columns also "sequence_lengths", of all tokens), "ngrams"
/// (B,1,G) i32 (-1: none) and "ngram_scale" (B,C) f32, "linear" (B,outputs) f32. Training also
/// takes "targets" (B,k) i32 or f32, "row_weight" (B,k) f32 and "loss_weight" (1), with `mixes`
/// "partner_targets" and "partner_weight" (B,k) too; it gives "loss" and "nll" (B,k). Evaluation
/// gives "logits" (B,answers(),outputs) alone: they are averaged by who reads them. Training is of
/// a single copy.
///
/// For gradients with respect to what a row is embedded to: kShown also gives "column_tokens"
/// (B,columns,C), "text_tokens" (B,T,C) and "bag" (B,C), each where there is one and after
/// its copy_prefix(); kGiven takes them as inputs in place of numbers, categories, ids and n-grams.
/// `weighed_logits` adds the input "logit_weight", of the logits' shape, and the output "loss" (1),
/// the sum of their products.
struct EncoderTrace {
  bool training = false;
  int64_t batch = 1;
  Tokens tokens = Tokens::kEmbedded;
  bool weighed_logits = false;
};
graph::Graph trace_encoder(const EncoderConfig& config, const graph::ParameterStore& store,
                           const EncoderTrace& options);

}  // namespace quern::model
