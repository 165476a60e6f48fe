#include "quern/train/projector_points.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <string>

#include "quern/base/random.h"
#include "quern/infer/row_predictor.h"

namespace quern::train {
namespace {

/// Numbers and a text, answered by a linear head whose weights are the same for every column, so
/// that it reads their mean.
struct Model {
  model::EncoderConfig config;
  graph::ParameterStore parameters;
  std::vector<float> weight;  // of the mean of the columns, then of text and n-grams

  Model() {
    model::apply_preset(config.trunk, "ft-transformer");
    config.trunk.layers = 1;
    config.trunk.heads = config.trunk.kv_heads = 2;
    config.trunk.width = kWidth;
    config.trunk.ffn_width = 16;
    config.trunk.vocabulary = 11;
    config.trunk.context = 6;
    config.numbers = kColumns;
    config.number_bins = 4;
    config.ngram_buckets = 13;
    config.ngram_bag = 5;
    config.answer = model::Answer::kValue;
    config.outputs = 1;
    config.head_layers = 0;
    config.linear = true;
    model::declare_encoder(config, parameters);
    parameters.allocate();
    model::initialise_encoder(config, parameters, 3);
    Random random(4, Stream::kTest);
    for (float& value : parameters.values()) value += 0.3F * static_cast<float>(random.normal());
    std::ranges::fill(values("head.scale"), 1.0F);
    std::ranges::fill(values("head.linear"), 1.0F);
    const auto head = values("head.out.weight");
    for (size_t column = 1; column < kColumns; ++column)
      std::copy_n(head.begin(), kWidth, head.begin() + static_cast<ptrdiff_t>(column * kWidth));
    for (size_t i = 0; i < kWidth; ++i) weight.push_back(kColumns * head[i]);
    weight.insert(weight.end(), head.begin() + kColumns * kWidth, head.end());
  }

  std::span<float> values(const std::string& name) {
    return parameters.value(parameters.find(name)).f32_span();
  }

  static constexpr size_t kWidth = 8, kColumns = 3;
};

task::RowInputs random_rows(int64_t count) {
  Random random(6, Stream::kTest);
  task::RowInputs rows;
  rows.columns.rows = count;
  rows.columns.numbers = static_cast<int64_t>(Model::kColumns);
  for (size_t i = 0; i < static_cast<size_t>(count) * Model::kColumns; ++i)
    rows.columns.places.push_back(static_cast<float>(3 * random.uniform()));
  rows.token_begins = rows.ngram_begins = {0};
  for (int64_t row = 0; row < count; ++row) {
    for (uint64_t i = random.below(6) + 1; i > 0; --i)
      rows.tokens.push_back(static_cast<uint32_t>(random.below(11)));
    for (uint64_t i = random.below(6); i > 0; --i)
      rows.ngrams.push_back(static_cast<int32_t>(random.below(13)));
    rows.token_begins.push_back(rows.tokens.size());
    rows.ngram_begins.push_back(rows.ngrams.size());
    rows.linear.push_back(static_cast<float>(random.normal()));
  }
  return rows;
}

TEST(ProjectorPoints, OfRowsAreWhatTheHeadReads) {
  Model model;
  ThreadPool pool(1);
  infer::RowPredictor predictor(model.config, model.parameters, pool);
  const task::RowInputs rows = random_rows(150);  // more than a batch
  const std::vector<float> answers = predictor.predict(rows);
  std::vector<size_t> every(150);
  std::iota(every.begin(), every.end(), size_t{0});
  const RowEmbeddings found = embed_rows(model.config, model.parameters, rows, every, pool);
  ASSERT_EQ(found.rows, every);
  ASSERT_EQ(found.width, 3 * Model::kWidth);
  ASSERT_EQ(model.weight.size(), found.width);
  ASSERT_EQ(found.values.size(), 150 * found.width);
  const float bias = model.values("head.out.bias")[0];
  for (size_t row = 0; row < 150; ++row) {
    const auto at = found.values.begin() + static_cast<ptrdiff_t>(row * found.width);
    const float answer = std::inner_product(model.weight.begin(), model.weight.end(), at, bias);
    EXPECT_NEAR(answer + rows.linear[row], answers[row], 1e-4F) << "row " << row;
  }
}

}  // namespace
}  // namespace quern::train
