#include "quern/explain/masked_novelty.h"

#include <gtest/gtest.h>

#include <numeric>

#include "quern/base/random.h"
#include "quern/data/table_reader.h"

namespace quern::explain {
namespace {

struct Fitted {
  data::Table table;
  features::ColumnEncoder encoder;
  features::EncodedRows background;
};

/// Two numbers, equal to each other or independent, and a category.
Fitted fitted(bool equal) {
  Random random(1, Stream::kTest);
  std::string text = "a,b,c,y\n";
  for (int i = 0; i < 80; ++i) {
    const uint64_t a = random.below(1000), b = equal ? a : random.below(1000);
    text += std::to_string(a) + "," + std::to_string(b) + (i % 2 == 0 ? ",x,1\n" : ",z,2\n");
  }
  Fitted out{data::read_csv_text(text, "rows"), {}, {}};
  std::vector<size_t> rows(out.table.rows());
  std::iota(rows.begin(), rows.end(), size_t{0});
  out.encoder =
      features::ColumnEncoder::fit(out.table, data::infer_types(out.table, {}), "y", rows);
  out.background = out.encoder.encode(out.table, rows);
  return out;
}

ExplainedRow row_of(const Fitted& from, std::string_view csv) {
  ExplainedRow row;
  const data::Table one = data::read_csv_text("a,b,c\n" + std::string(csv) + "\n", "row");
  const std::vector<size_t> first = {0};
  row.inputs.columns = from.encoder.encode(one, first);
  for (size_t i = 0; i < from.encoder.numbers().size(); ++i)
    row.parts.emplace_back().numbers.push_back(i);
  for (size_t i = 0; i < from.encoder.categories().size(); ++i)
    row.parts.emplace_back().categories.push_back(i);
  return row;
}

TEST(MaskedNovelty, ColumnsThatHangTogetherArePulledApart) {
  const Fitted apart = fitted(false), equal = fitted(true);
  const auto alike = masked_novelty(apart.encoder, row_of(apart, "500,500,x"), apart.background, 1);
  const auto torn = masked_novelty(equal.encoder, row_of(equal, "950,950,x"), equal.background, 1);
  ASSERT_TRUE(alike && torn);
  EXPECT_LT(alike->value, 0.65);
  EXPECT_GT(torn->value, 0.75);
  EXPECT_GT(torn->low, alike->high);
}

TEST(MaskedNovelty, NeedsColumnsAndRows) {
  const Fitted from = fitted(false);
  ExplainedRow row = row_of(from, "1,2,x");
  EXPECT_FALSE(masked_novelty(from.encoder, row, {}, 1).has_value());
  row.parts.resize(1);
  EXPECT_FALSE(masked_novelty(from.encoder, row, from.background, 1).has_value());
}

}  // namespace
}  // namespace quern::explain
