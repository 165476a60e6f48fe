#pragma once

#include <cstdint>

#include "quern/model/encoder.h"
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

/// What a table says before anything is trained.
struct RowFacts {
  uint64_t rows = 0;    // to train on
  int64_t columns = 0;  // features: numbers and categories
  bool text = false;
  int64_t picture_side = 0;  // of the shorter side; 0: no pictures
  uint64_t bytes = 0;        // of the longest text but one in twenty
  bool classify = true;
  int64_t folds = 1;
};

/// The share that data.validation holds out. Throws UsageError where it is none between 0 and 1.
double validation_share(const Options& options);
/// Models that a table of so many rows is divided for: what data.folds says, or five where rows are
/// few and data.validation and data.split leave it open.
int64_t folds_of(const Options& options, size_t rows, bool pictures);
/// As decide_text, for a model that answers with a class or a value (bench/tables.py).
void decide_rows(Options& options, const RowFacts& facts);

/// What a log of users and items says before anything is trained.
struct LogFacts {
  uint64_t items = 0;           // of the training part
  uint64_t typical_length = 0;  // median interactions a user
};

/// As decide_text, for a model that recommends (bench/recommend.py).
void decide_recommend(Options& options, const LogFacts& facts);

/// The encoder that decided options describe, but for what the data's columns say. Throws
/// UsageError naming the key and the rule.
model::EncoderConfig encoder_config(const Options& options);

/// The model that decided options describe. Throws UsageError naming the key and the rule.
model::ModelConfig model_config(const Options& options, int64_t vocabulary);

}  // namespace quern::run
