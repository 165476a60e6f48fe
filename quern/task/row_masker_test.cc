#include "quern/task/row_masker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <set>

#include "quern/base/random.h"
#include "quern/data/table_reader.h"
#include "quern/graph/plan.h"

namespace quern::task {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;

constexpr size_t kRows = 40;
constexpr uint64_t kDraws = 4000;

/// Forty rows of a number that no two share, a category, a date, and a class.
struct Made {
  data::Table table;
  run::RowPipeline pipeline;
  KnownRows known;
  model::EncoderConfig config;

  Made() {
    std::string text = "a,k,day,y\n";
    for (size_t i = 0; i < kRows; ++i) {
      text += std::to_string(i * i % 97) + ".5,kind" + std::to_string(i % 4) + ",20" +
              std::to_string(10 + i / 4) + "-0" + std::to_string(1 + i % 9) + "-11," +
              (i * 7 % 5 < 2 ? "yes\n" : "no\n");
      known.targets.classes.push_back(i * 7 % 5 < 2 ? 1 : 0);
    }
    table = data::read_csv_text(text, "t");
    std::vector<size_t> all(kRows);
    std::iota(all.begin(), all.end(), size_t{0});
    pipeline.task = "classify";
    pipeline.classes = {"no", "yes"};
    pipeline.columns = features::ColumnEncoder::fit(table, data::infer_types(table, {}), "y", all);
    known.inputs.columns = pipeline.columns.encode(table, all);
    config.trunk.layers = 1;
    config.trunk.heads = config.trunk.kv_heads = 1;
    config.trunk.width = config.trunk.ffn_width = 8;
    config.trunk.vocabulary = 0;
    config.trunk.causal = false;
    config.trunk.position = model::Position::kNone;
    config.head_width = 8;
    config.numbers = known.inputs.columns.numbers;
    config.number_bins = pipeline.columns.number_bins();
    for (const auto& category : pipeline.columns.categories())
      config.categories.push_back(category.size());
  }

  RowMasker masker(double rate, uint64_t seed = 1, const LinearStart* linear = nullptr) const {
    return {config, {&pipeline.columns, nullptr, linear}, {}, rate, seed};
  }
};

/// The features of one column of a row.
std::vector<float> of(const ColumnFeatures& column, const features::EncodedRows& rows, size_t row) {
  std::vector<float> values;
  for (const size_t n : column.numbers)
    values.push_back(rows.places[row * static_cast<size_t>(rows.numbers) + n]);
  for (const size_t c : column.categories) {
    values.push_back(
        static_cast<float>(rows.category_ids[row * static_cast<size_t>(rows.categories) + c]));
  }
  return values;
}

TEST(RowMasker, MasksTheShareOfRowsThatIsAskedFor) {
  const Made made;
  const RowMasker masker = made.masker(0.2), again = made.masker(0.2), other = made.masker(0.2, 2);
  const RowMasker none = made.masker(0);
  uint64_t masked = 0, differ = 0;
  for (uint64_t sample = 0; sample < kDraws; ++sample) {
    masked += masker.masks(sample) ? 1 : 0;
    differ += masker.masks(sample) != other.masks(sample) ? 1 : 0;
    ASSERT_EQ(masker.masks(sample), again.masks(sample));
    ASSERT_FALSE(none.masks(sample));
  }
  EXPECT_NEAR(static_cast<double>(masked) / kDraws, 0.2, 0.02);
  EXPECT_GT(differ, 0U);
}

TEST(RowMasker, HiddenColumnsHaveTheValuesOfOneOtherRow) {
  const Made made;
  const features::EncodedRows& rows = made.known.inputs.columns;
  const std::vector<ColumnFeatures> columns = features_by_column(made.pipeline.columns);
  ASSERT_EQ(columns.size(), 3U);
  ASSERT_GE(columns[2].numbers.size() + columns[1].numbers.size(), 2U) << "a date gives several";
  const RowMasker masker = made.masker(1), again = made.masker(1);
  constexpr size_t kRow = 6;
  // Itself, which is never taken, and others, which differ in every column.
  std::vector<int64_t> lenders(20, static_cast<int64_t>(kRow));
  for (int64_t i = 1; i < static_cast<int64_t>(kRows); i += 2) lenders.push_back(i);
  std::array<size_t, 4> sizes{};
  std::set<size_t> lent;
  for (uint64_t sample = 0; sample < kDraws; ++sample) {
    const RowInputs one = masker.mask(made.known.inputs, kRow, lenders, sample);
    ASSERT_EQ(one.rows(), 1);
    EXPECT_THAT(again.mask(made.known.inputs, kRow, lenders, sample).columns.places,
                ElementsAreArray(one.columns.places));
    // One lender from which all that is not the row's own can come.
    size_t hidden = 0, possible = 0;
    for (const int64_t lender : lenders) {
      if (lender == static_cast<int64_t>(kRow)) continue;
      size_t changed = 0;
      bool fits = true;
      for (const ColumnFeatures& column : columns) {
        const auto has = of(column, one.columns, 0);
        if (has == of(column, rows, kRow)) continue;
        ++changed;
        fits = fits && has == of(column, rows, static_cast<size_t>(lender));
      }
      if (!fits) continue;
      ++possible;
      hidden = changed;
      if (changed == 3) lent.insert(static_cast<size_t>(lender));
    }
    ASSERT_GT(possible, 0U) << sample;
    ++sizes[hidden];
  }
  EXPECT_GT(lent.size(), 10U);
  // The share is even, so each number of hidden columns is as likely.
  for (const size_t count : sizes) EXPECT_NEAR(static_cast<double>(count) / kDraws, 0.25, 0.03);
}

TEST(RowMasker, ARowThatIsAloneLendsItself) {
  const Made made;
  const std::vector<int64_t> lenders(8, 6);
  const RowInputs one = made.masker(1).mask(made.known.inputs, 6, lenders, 3);
  const features::EncodedRows own = made.known.inputs.columns.select(std::array{size_t{6}});
  EXPECT_THAT(one.columns.places, ElementsAreArray(own.places));
}

TEST(RowMasker, WordsAreLeftOutAndTheOthersMoveUp) {
  Made made;
  const auto tokenizer = features::Tokenizer::byte_level();
  made.config.trunk.vocabulary = static_cast<int64_t>(tokenizer->vocabulary());
  made.config.trunk.context = 64;
  made.config.ngram_buckets = 1 << 16;
  made.config.ngram_bag = 16;
  const std::vector<std::string> words = {"red", " green", " blue", " white"};
  const RowMasker masker(made.config, {&made.pipeline.columns, tokenizer.get(), nullptr},
                         std::vector<std::string>(kRows, "red green blue white"), 1, 1);
  const std::array<int64_t, 2> lenders = {0, 1};
  std::set<std::string> seen;
  for (uint64_t sample = 0; sample < 400; ++sample) {
    const RowInputs one = masker.mask(made.known.inputs, 3, lenders, sample);
    const std::string text = tokenizer->decode(one.tokens);
    EXPECT_THAT(one.token_begins, ElementsAre(0, text.size()));
    // Single words and pairs of neighbours that are both shown.
    std::set<int32_t> grams(one.ngrams.begin(), one.ngrams.end()), expected;
    std::string rest, before;
    for (const std::string& word : words) {
      if (text.find(word) == std::string::npos) {
        before.clear();
        continue;
      }
      rest += word;
      before += word;
      for (const int32_t gram : features::word_ngrams(before, 2, made.config.ngram_buckets, 16))
        expected.insert(gram);
    }
    EXPECT_EQ(text, rest);
    EXPECT_EQ(grams, expected) << text;
    seen.insert(text);
  }
  EXPECT_EQ(seen.size(), 16U);
}

TEST(RowMasker, TheLinearModelReadsWhatIsLeftOfAText) {
  model::EncoderConfig config;
  config.trunk.vocabulary = 257;
  config.trunk.context = 3;
  config.linear = true;
  const auto tokenizer = features::Tokenizer::byte_level();
  const WordedText text = read_words(config, *tokenizer, "red green blue");
  RowInputs rows;
  add_text_without(config, text, std::array<uint8_t, 3>{0, 1, 0}, rows);
  EXPECT_THAT(rows.columns.texts, ElementsAre("red  blue"));
  EXPECT_EQ(tokenizer->decode(rows.tokens), "red") << "the model reads three tokens";
}

TEST(RowMasker, HiddenPatchesHaveTheMeanColour) {
  Made made;
  features::PictureFeature feature{"p", 16, 16, 1, {0.2}, {1, 1, 1}};
  made.pipeline.columns.set_picture(feature);
  made.config.image = {.height = 16, .width = 16, .channels = 1, .stem = 1, .patch = 0};
  features::EncodedRows& rows = made.known.inputs.columns;
  rows.picture = feature;
  rows.pixels.assign(kRows * 256, 200);
  const RowMasker masker = made.masker(1);
  const std::array<int64_t, 2> lenders = {0, 1};
  double hidden = 0;
  for (uint64_t sample = 0; sample < 200; ++sample) {
    const RowInputs one = masker.mask(made.known.inputs, 3, lenders, sample);
    ASSERT_EQ(one.columns.pixels.size(), 256U);
    for (size_t i = 0; i < 256; ++i) {
      const uint8_t corner = one.columns.pixels[i / 32 * 32 + i % 16 / 2 * 2];
      ASSERT_TRUE(corner == 200 || corner == 51);
      ASSERT_EQ(one.columns.pixels[i], corner) << "a patch is two pixels wide";
      hidden += corner == 51 ? 1.0 / 256 : 0;
    }
  }
  EXPECT_NEAR(hidden / 200, 0.5, 0.1);
}

TEST(RowMasker, AnswersStartFromTheScoreOfWhatIsLeft) {
  Made made;
  made.config.linear = true;
  std::vector<uint32_t> folds(kRows);
  for (size_t row = 0; row < kRows; ++row) folds[row] = static_cast<uint32_t>(row % 4);
  ThreadPool pool(1);
  const LinearStart start = fit_linear_start(made.pipeline, made.known.inputs.columns,
                                             made.known.targets, folds, 4, pool, true);
  const RowMasker masker = made.masker(1, 1, &start);
  const std::array<int64_t, 1> lenders = {9};
  const std::vector<ColumnFeatures> columns = features_by_column(made.pipeline.columns);
  const features::EncodedRows& rows = made.known.inputs.columns;
  bool none = false, all = false;
  for (uint64_t sample = 0; sample < 100; ++sample) {
    const RowInputs one = masker.mask(made.known.inputs, 6, lenders, sample);
    ASSERT_EQ(one.linear.size(), 2U);
    if (of(columns[0], one.columns, 0) == of(columns[0], rows, 6)) {
      bool own = one.columns.places == rows.select(std::array<size_t, 1>{6}).places &&
                 one.columns.category_ids == rows.select(std::array<size_t, 1>{6}).category_ids;
      if (!own) continue;
      none = true;
      for (size_t i = 0; i < 2; ++i) EXPECT_NEAR(one.linear[i], start.scores[12 + i], 1e-4);
    } else if (one.columns.places == rows.select(std::array<size_t, 1>{9}).places) {
      all = true;
      // What the model without the row's fold says of the lender, which it has seen.
      const auto lent = start.scores_like(6, made.pipeline.columns, one.columns);
      EXPECT_THAT(one.linear, ElementsAreArray(lent));
      EXPECT_NE(one.linear[0], start.scores[12]);
    }
  }
  EXPECT_TRUE(none);
  EXPECT_TRUE(all);
}

/// What a training step of 32 rows is given.
struct Batch {
  std::vector<float> numbers;
  std::vector<int32_t> categories, targets;
};

Batch batch_of(const Made& made, const RowMasker* masker, int threads, uint64_t first) {
  RowNoise noise;
  noise.masker = masker;
  std::vector<int64_t> train(kRows);
  std::iota(train.begin(), train.end(), 0);
  RowsProblem problem(made.config, made.known, train, {}, noise);
  ThreadPool pool(threads);
  problem.use(pool);
  graph::ParameterStore store;
  problem.declare(store);
  store.allocate();
  graph::StateStore states;
  graph::Executor executor(graph::Plan(problem.trace(Use::kTrain, 32, store), {}), store, states,
                           pool);
  problem.fill_training(first, executor);
  const auto numbers = executor.input("numbers").f32_span();
  const auto integers = [&](const char* name) {
    const TensorView view = executor.input(name);
    return std::vector<int32_t>(view.i32(), view.i32() + view.elements());
  };
  return {{numbers.begin(), numbers.end()}, integers("categories"), integers("targets")};
}

TEST(RowMasker, TrainingRowsAreMaskedBySampleAndTargetsStay) {
  const Made made;
  const RowMasker half = made.masker(0.5), none = made.masker(0);
  const Batch plain = batch_of(made, nullptr, 1, 32), masked = batch_of(made, &half, 1, 32);
  EXPECT_EQ(batch_of(made, &none, 1, 32).numbers, plain.numbers);
  EXPECT_EQ(batch_of(made, &half, 3, 32).numbers, masked.numbers);
  EXPECT_EQ(batch_of(made, &half, 3, 32).categories, masked.categories);
  EXPECT_EQ(masked.targets, plain.targets);
  const size_t width = plain.numbers.size() / 32;
  size_t changed = 0;
  for (size_t b = 0; b < 32; ++b) {
    const auto before = plain.numbers.begin() + static_cast<std::ptrdiff_t>(b * width);
    const auto after = masked.numbers.begin() + static_cast<std::ptrdiff_t>(b * width);
    const bool differs = !std::equal(before, before + static_cast<std::ptrdiff_t>(width), after);
    EXPECT_TRUE(half.masks(32 + b) || !differs) << b;
    changed += differs ? 1 : 0;
  }
  EXPECT_GT(changed, 5U);
}

}  // namespace
}  // namespace quern::task
