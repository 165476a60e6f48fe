#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "quern/graph/graph.h"
#include "quern/graph/store.h"
#include "quern/model/blocks.h"
#include "quern/model/model_config.h"

namespace quern::model {

/// Declares every parameter of the model in the store (names below), without allocating. Names:
/// embed.weight (V,C); embed.position (S,C) learned; embed.ngram (buckets,C);
/// embed.side (side rows,C);
/// layers.N.norm1.{weight,bias}; layers.N.attention.qkv.{weight ((H+2K)D,C),bias};
/// layers.N.attention.out.{weight (C,HD),bias}; layers.N.norm2.*; layers.N.ffn.up.{weight (F or
/// 2F,C),bias} (gate rows, then value rows); layers.N.ffn.down.{weight (C,F),bias};
/// norm.{weight,bias}; output.weight (V,C) where not tied.
void declare_parameters(const ModelConfig& config, graph::ParameterStore& store);

/// Fills the parameters by the seed: GPT-2's scheme (normal 0.02; residual projections /
/// √(2·layers); norms 1; biases 0).
void initialise(const ModelConfig& config, graph::ParameterStore& store, uint64_t seed);

/// What a traced graph is for. The layers are the same code for all.
struct TraceOptions {
  enum class Use : uint8_t {
    kTrain,     // inputs ids, targets, loss_weight, random; outputs loss, nll
    kEvaluate,  // inputs ids, targets, loss_weight; outputs loss, nll: no regularisation
    kLogits,    // input ids; output logits (B,T,V)
    kDecode,    // inputs ids (B,T), offsets (B), lengths (B) = offset + T, rows (B); states
                // cache.N.{key,value}; output logits (B,V) of position rows[b]
  } use = Use::kTrain;
  int64_t batch = 1;
  int64_t length = 0;          // T; 0: the context
  int64_t cache_capacity = 0;  // kDecode; 0: the context
  /// kEvaluate: one position of each sequence counts. Input rows (B) names it, targets is (B).
  bool one_target = false;
  /// kTrain: the loss over so many candidates of the vocabulary, all else left out (sampled
  /// softmax). Inputs candidates (1,N) i32, candidate_bias (N) f32, added to their logits; targets
  /// are places among them. 0: over the whole vocabulary.
  int64_t candidates = 0;
  /// Rows of embed.side of each entry (R, side_slots), -1: none; R at least the vocabulary. kDecode
  /// gives logits of all R, the entries beyond the vocabulary known by their side alone. Must
  /// outlive the plan.
  std::span<const int32_t> side = {};
  /// kShown: output "tokens" (B,T,C), what ids and n-grams are embedded to; kGiven: an input in
  /// their place.
  Tokens tokens = Tokens::kEmbedded;
};

/// Traces the model. Inputs: "ids" (B,T) i32; "ngram_ids" (B,T,G) i32 where ngram_orders > 0;
/// "targets" (B,T) i32, -1 not counted; "loss_weight" (1) f32, 1 / valid targets of the whole step;
/// "random" (4) u32
/// where the configuration drops anything.
graph::Graph trace(const ModelConfig& config, const graph::ParameterStore& store,
                   const TraceOptions& options);

}  // namespace quern::model
