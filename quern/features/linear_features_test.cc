#include "quern/features/linear_features.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <numeric>

#include "quern/base/error.h"
#include "quern/data/table_reader.h"
#include "quern/features/linear_score.h"

namespace quern::features {
namespace {

ColumnEncoder encoder_of(const data::Table& table, const char* types, EncodedRows& rows) {
  const auto facts = data::infer_types(table, data::parse_type_overrides(types));
  std::vector<size_t> all(table.rows());
  std::iota(all.begin(), all.end(), size_t{0});
  ColumnEncoder encoder = ColumnEncoder::fit(table, facts, "y", all);
  rows = encoder.encode(table, all);
  return encoder;
}

TEST(LinearFeatures, NumbersAsValueAndPlaceOrPieces) {
  const data::Table table = data::read_csv_text("x,y\n1,a\n2,b\n4,a\n?,b\n", "t");
  EncodedRows encoded;
  const ColumnEncoder columns = encoder_of(table, "", encoded);
  const auto plain = LinearFeatures::fit(columns, encoded.texts, LinearKind::kPlain);
  EXPECT_EQ(plain.width(), 3U);
  const SparseRows rows = plain.rows(columns, encoded);
  const double deviation = std::sqrt(14.0 / 9);
  EXPECT_NEAR(static_cast<double>(rows.values[2]), (2 - 7.0 / 3) / deviation, 1e-6);
  EXPECT_FLOAT_EQ(rows.values[3], 0.5F);  // of two pieces one is passed
  EXPECT_EQ(rows.columns[rows.begins[3]], 0U) << "missing";
  const auto rich = LinearFeatures::fit(columns, encoded.texts, LinearKind::kRich);
  EXPECT_EQ(rich.width(), 4U);
  const SparseRows pieces = rich.rows(columns, encoded);
  EXPECT_EQ(pieces.begins[3] - pieces.begins[2], 3U);  // the value and both pieces
}

TEST(LinearFeatures, TermsAreWeighedAsScikitLearnDoes) {
  // TfidfVectorizer(sublinear_tf=True, min_df=2) of the words of these texts.
  const data::Table table =
      data::read_csv_text("t,y\nred red fox,a\nred hen,b\nblue fox hen,a\ngreen,b\n", "t");
  EncodedRows encoded;
  const ColumnEncoder columns = encoder_of(table, "t = text", encoded);
  const auto features = LinearFeatures::fit(columns, encoded.texts, LinearKind::kPlain);
  const SparseRows rows = features.rows(columns, encoded);
  ASSERT_EQ(features.width(), 3U);  // red, fox, hen: no pair stands twice
  ASSERT_EQ(rows.begins[1], 2U);
  const float red = std::max(rows.values[0], rows.values[1]);
  const float fox = std::min(rows.values[0], rows.values[1]);
  EXPECT_NEAR(red, 0.861037, 1e-5);
  EXPECT_NEAR(fox, 0.508542, 1e-5);
  EXPECT_NEAR(rows.values[2], 0.707107, 1e-5);
  EXPECT_EQ(rows.begins[4], rows.begins[3]) << "green stands in one text alone";
}

TEST(LinearScore, IsSavedWhole) {
  const data::Table table =
      data::read_csv_text("x,t,y\n1,red fox,a\n2,red hen,b\n4,fox hen,a\n3,fox,b\n", "t");
  EncodedRows encoded;
  const ColumnEncoder columns = encoder_of(table, "t = text", encoded);
  LinearScore score;
  score.features = LinearFeatures::fit(columns, encoded.texts, LinearKind::kRich);
  score.outputs = 2;
  score.weights.resize((score.features.width() + 1) * 2);
  for (size_t i = 0; i < score.weights.size(); ++i)
    score.weights[i] = std::sin(static_cast<float>(i));
  const fs::path file = fs::path(testing::TempDir()) / "quern_linear_score.safetensors";
  score.save(file);
  EXPECT_EQ(LinearScore::load(file, columns, 2).scores(columns, encoded),
            score.scores(columns, encoded));
  EXPECT_THROW(LinearScore::load(file, columns, 3), FormatError);
  fs::remove(file);
}

}  // namespace
}  // namespace quern::features
