#pragma once

#include <cstdint>
#include <string>

#include "quern/graph/graph.h"
#include "quern/graph/store.h"
#include "quern/model/model_config.h"

namespace quern::model {

/// What becomes of the vectors that stand for the parts of an input: made and passed on, shown as
/// outputs too, or given as inputs.
enum class Tokens : uint8_t { kEmbedded, kShown, kGiven };

/// Pre-norm leaves its residual stream unnormalised, so a last norm stands before the output.
/// Post-norm has one already; the article's block has none.
bool has_final_norm(const ModelConfig& config);

/// Declares the parameters of the blocks (layers.N.… and the last norm, as in decoder.h).
void declare_blocks(const ModelConfig& config, graph::ParameterStore& store);

/// The transformer's blocks, traced onto a graph: what decoder and encoder share. All must outlive
/// it.
class Blocks {
 public:
  Blocks(graph::Graph& graph, const ModelConfig& config, const graph::ParameterStore& store,
         bool training)
      : g_(graph), c_(config), store_(store), training_(training) {}

  /// What the attention of all layers sees beside x; each may be absent.
  struct Sequence {
    graph::Value lengths;        // (B) i32: valid keys of each row
    graph::Value rope_table;     // (S, head width)
    graph::Value alibi_slopes;   // (heads)
    graph::Value offsets;        // (B) i32; decoding: positions held before these
    int64_t cache_capacity = 0;  // decoding: positions of the key-value cache; 0: no cache
  };

  /// Makes the input "random" where training draws anything. Before everything else that draws.
  void declare_random(bool needed = false);
  graph::Value random() const { return random_; }

  /// x (B,T,C), of type(), -> (B,T,C) through all layers; taps the residual after each. The last
  /// norm is the caller's.
  graph::Value run(graph::Value x, const Sequence& sequence);

  /// Stands before the names of all parameters asked for from now on.
  void set_prefix(std::string prefix) { prefix_ = std::move(prefix); }
  /// What activations are kept as: BF16 where the store says so.
  DType type() const { return store_.activation_type(); }
  /// In F32, or quantised where the store keeps it so. Throws Error("missing_parameter").
  graph::Value parameter(const std::string& name);
  graph::Value optional_parameter(const std::string& name);
  /// What is multiplied by activations, or added to them: in their type, or quantised.
  graph::Value weight(const std::string& name);
  graph::Value optional_weight(const std::string& name);
  graph::Value norm(graph::Value x, const std::string& name);
  /// residual + dropout(x), where training asks for it; `path`: whole samples.
  graph::Value dropped(graph::Value x, graph::Value residual, float rate, bool path);
  bool training() const { return training_; }

 private:
  graph::Value parameter_as(const std::string& short_name, DType type);
  graph::Value project(graph::Value x, const std::string& name, graph::Value residual,
                       float path_rate);
  graph::Value attention(graph::Value x, graph::Value residual, int64_t layer, float path_rate);
  graph::Value feed_forward(graph::Value x, graph::Value residual, int64_t layer, float path_rate);
  graph::Value block(graph::Value x, int64_t layer);

  graph::Graph& g_;
  const ModelConfig& c_;
  const graph::ParameterStore& store_;
  bool training_;
  std::string prefix_;
  graph::Value random_;
  Sequence sequence_;
  uint32_t dropouts_ = 0;
};

}  // namespace quern::model
