#pragma once

#include <cstdint>

#include "quern/model/model_config.h"
#include "quern/run/options.h"

namespace quern::run {

/// What the data says before anything is trained.
struct TextFacts {
  uint64_t bytes = 0;       // of the training text
  uint64_t characters = 0;  // code points of it
};

/// Decides the preset, the size, the tokenizer's vocabulary, and all that follows from them, where
/// nothing stronger has. Its rows were tried on tiny Shakespeare
/// (bench/text_quality.py).
void decide_text(Options& options, const TextFacts& facts);

/// The model that decided options describe. Throws UsageError naming the key and the rule.
model::ModelConfig model_config(const Options& options, int64_t vocabulary);

}  // namespace quern::run
