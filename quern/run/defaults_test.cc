#include "quern/run/defaults.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <string_view>

namespace quern::run {
namespace {

std::string_view decided(std::string_view key, RowFacts facts) {
  static Options options;
  options = Options();
  decide_rows(options, facts);
  return options.text(key);
}

std::string_view linear_of(RowFacts facts) { return decided("model.linear", facts); }

TEST(Defaults, EverySizeAndPresetMakesAModel) {
  for (const char* size : {"auto", "tiny", "small", "base", "large"}) {
    for (const char* preset : {"auto", "article", "gpt2", "llama"}) {
      for (const char* time : {"", "1m", "1h"}) {
        Options options;
        options.set("model.size", size, Layer::kExplicit, "test");
        options.set("model.preset", preset, Layer::kExplicit, "test");
        options.set("train.time", time, Layer::kExplicit, "test");
        decide_text(options, {1'000'000, 1'000'000});
        model_config(options, 512).validate();
        EXPECT_FALSE(options.is_auto("model.ffn_width"));
        EXPECT_GT(options.integer("train.batch"), 0);
        EXPECT_GT(options.number("train.learning_rate"), 0);
      }
    }
  }
}

TEST(Defaults, WhatWasSaidStays) {
  Options options;
  options.assign("model.width=96");
  options.assign("model.position=alibi");
  options.assign("train.batch=0");
  decide_text(options, {1'000'000, 1'000'000});
  EXPECT_EQ(options.integer("model.width"), 96);
  EXPECT_EQ(options.text("model.position"), "alibi");
  EXPECT_GT(options.integer("train.batch"), 0);  // 0 asks for the automatic one
  const model::ModelConfig config = model_config(options, 512);
  EXPECT_EQ(config.ffn_width, 256);  // 8/3 of the width for a gated unit
}

TEST(RowDefaults, TextsAndFewRowsOfColumnsStartFromALinearModel) {
  EXPECT_EQ(linear_of({.rows = 19, .columns = 5}), "false");
  EXPECT_EQ(linear_of({.rows = 9999, .columns = 5}), "true");
  EXPECT_EQ(linear_of({.rows = 10000, .columns = 5}), "false");
  EXPECT_EQ(linear_of({.rows = 10000, .text = true, .bytes = 80}), "true");
  EXPECT_EQ(linear_of({.rows = 500, .picture_side = 28}), "false");
}

TEST(RowDefaults, FewRowsAreDividedInFolds) {
  const auto folds = [](size_t rows, std::initializer_list<const char*> said,
                        bool pictures = false) {
    Options options;
    for (const char* assignment : said) options.assign(assignment);
    return folds_of(options, rows, pictures);
  };
  EXPECT_EQ(folds(99, {}), 1);
  EXPECT_EQ(folds(100, {}), 5);
  EXPECT_EQ(folds(4999, {}), 5);
  EXPECT_EQ(folds(5000, {}), 1);
  EXPECT_EQ(folds(500, {}, true), 1);
  EXPECT_EQ(folds(500, {"data.validation=0.2"}), 1);
  EXPECT_EQ(folds(500, {"data.split=random"}), 1);
  EXPECT_EQ(folds(5000, {"data.folds=3"}), 3);
  EXPECT_EQ(folds(500, {"data.folds=1"}), 1);
}

TEST(RowDefaults, ManyRowsOfColumnsAreMasked) {
  const auto masked = [](RowFacts facts) { return decided("regularise.masked_inputs", facts); };
  EXPECT_EQ(masked({.rows = 10000, .columns = 5}), "0.1");
  EXPECT_EQ(masked({.rows = 9999, .columns = 5}), "0");
  EXPECT_EQ(masked({.rows = 10000, .columns = 5, .text = true, .bytes = 80}), "0");
  EXPECT_EQ(masked({.rows = 10000, .columns = 5, .picture_side = 28}), "0");
}

}  // namespace
}  // namespace quern::run
