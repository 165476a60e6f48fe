#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "quern/base/random.h"
#include "quern/model/model_config.h"
#include "quern/task/text_windows.h"

// Small models of text and tokens for them, for the tests of training.
namespace quern::train {

struct SmallModel {
  int64_t vocabulary = 29, layers = 2, width = 16, context = 8;
};

/// Of two heads, with twice the width in the feed-forward network.
inline model::ModelConfig small_model(std::string_view preset, const SmallModel& small = {}) {
  model::ModelConfig config;
  model::apply_preset(config, preset);
  config.vocabulary = small.vocabulary;
  config.layers = small.layers;
  config.heads = config.kv_heads = 2;
  config.width = small.width;
  config.ffn_width = 2 * small.width;
  config.context = small.context;
  return config;
}

inline task::TokenStream stream_of(std::vector<uint32_t> tokens) {
  const uint64_t count = tokens.size();
  return {count, [data = std::make_shared<const std::vector<uint32_t>>(std::move(tokens))](
                     uint64_t begin, std::span<uint32_t> out) {
            std::copy_n(data->begin() + static_cast<int64_t>(begin), out.size(), out.begin());
          }};
}

/// Each token drawn alone: nothing to learn.
inline task::TokenStream random_stream(int64_t vocabulary, uint64_t count, uint64_t seed) {
  std::vector<uint32_t> tokens(count);
  Random random(seed, Stream::kTest);
  for (uint32_t& token : tokens)
    token = static_cast<uint32_t>(random.below(static_cast<uint64_t>(vocabulary)));
  return stream_of(std::move(tokens));
}

inline bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

}  // namespace quern::train
