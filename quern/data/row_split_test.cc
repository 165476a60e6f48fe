#include "quern/data/row_split.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <set>

#include "quern/base/error.h"
#include "quern/data/table_reader.h"

namespace quern::data {
namespace {

Table make(int rows, bool repeats) {
  std::string text = "x,t,y\n";
  for (int i = 0; i < rows; ++i) {
    const int value = repeats ? i / 4 : i;
    text += std::to_string(value) + "," + std::to_string((value * 37) % 1000) + "," +
            (value % 5 == 0 ? "yes" : "no") + "\n";
  }
  return read_csv_text(text, "t");
}

std::vector<size_t> all(const Table& table) {
  std::vector<size_t> rows(table.rows());
  std::iota(rows.begin(), rows.end(), size_t{0});
  return rows;
}

size_t yes(const Table& table, const std::vector<size_t>& rows) {
  return static_cast<size_t>(
      std::count_if(rows.begin(), rows.end(), [&](size_t r) { return table.cell(r, 2) == "yes"; }));
}

TEST(RowSplit, StratifiesAndCoversEachRowOnce) {
  const Table table = make(1000, false);
  const RowSplit split =
      split_rows(table, all(table), 2, {.validation = 0.2, .test = 0.1, .classes = true});
  EXPECT_EQ(split.train.size(), 700U);
  EXPECT_EQ(split.validation.size(), 200U);
  EXPECT_EQ(split.test.size(), 100U);
  EXPECT_EQ(yes(table, split.validation), 40U);
  EXPECT_EQ(yes(table, split.test), 20U);
  std::set<size_t> seen(split.train.begin(), split.train.end());
  seen.insert(split.validation.begin(), split.validation.end());
  seen.insert(split.test.begin(), split.test.end());
  EXPECT_EQ(seen.size(), 1000U);
}

TEST(RowSplit, RareClassesReachEveryFold) {
  for (const int each : {2, 4, 7}) {
    std::string text = "x,y\n";
    for (int i = 0; i < 30 * each; ++i)
      text += std::to_string(i) + ",c" + std::to_string(i % 30) + "\n";
    const Table table = read_csv_text(text, "t");
    for (const auto& fold : fold_rows(table, all(table), 1, true, 5, 1))
      EXPECT_NEAR(static_cast<double>(fold.size()), 6.0 * each, 1) << each;
  }
  const Table same = read_csv_text("x,y\n1,a\n1,b\n1,a\n1,b\n1,a\n2,b\n", "t");
  for (const auto& fold : fold_rows(same, all(same), 1, true, 5, 1)) EXPECT_FALSE(fold.empty());
}

TEST(RowSplit, IdentifiersTellNoRowsApart) {
  std::string text = "id,x,y\n";
  for (int i = 0; i < 300; ++i)
    text += "c" + std::to_string(i) + "," + std::to_string(i % 100) + ",a\n";
  const Table table = read_csv_text(text, "t");
  const auto parted = [&](const RowSplit& split) {
    std::set<std::string_view> train;
    for (const size_t row : split.train) train.insert(table.cell(row, 1));
    return std::count_if(split.validation.begin(), split.validation.end(),
                         [&](size_t row) { return train.contains(table.cell(row, 1)); });
  };
  const RowSplit split = split_rows(table, all(table), 2, {.validation = 0.2}, {0});
  EXPECT_EQ(split.repeats, 200U);
  EXPECT_EQ(parted(split), 0);
  EXPECT_GT(parted(split_rows(table, all(table), 2, {.validation = 0.2})), 0);
  for (const auto& fold : fold_rows(table, all(table), 2, false, 5, 1, {0})) {
    std::map<std::string_view, int> rows;
    for (const size_t row : fold) ++rows[table.cell(row, 1)];
    for (const auto& [value, count] : rows) EXPECT_EQ(count, 3) << value;
  }
}

TEST(RowSplit, RepeatedRowsStayOnOneSide) {
  const Table table = make(400, true);
  const RowSplit split = split_rows(table, all(table), 2, {.validation = 0.25, .classes = true});
  EXPECT_EQ(split.repeats, 300U);
  std::set<std::string_view> train;
  for (const size_t row : split.train) train.insert(table.cell(row, 0));
  for (const size_t row : split.validation) EXPECT_FALSE(train.contains(table.cell(row, 0)));
  EXPECT_EQ(split.validation.size(), 100U);
}

TEST(RowSplit, DividesByTimeByGroupAndInOrder) {
  const Table table = make(100, false);
  const RowSplit time = split_rows(table, all(table), 2, {.mode = "time:t", .validation = 0.2});
  for (const size_t a : time.train) {
    for (const size_t b : time.validation)
      EXPECT_LE(std::stoi(std::string(table.cell(a, 1))), std::stoi(std::string(table.cell(b, 1))));
  }
  const RowSplit last = split_rows(table, all(table), 2, {.mode = "contiguous", .validation = 0.1});
  EXPECT_EQ(last.validation.front(), 90U);
  const Table grouped = make(400, true);
  const RowSplit group =
      split_rows(grouped, all(grouped), 2, {.mode = "group:x", .validation = 0.5});
  EXPECT_EQ(group.validation.size(), 200U);
  EXPECT_THROW(split_rows(table, all(table), 2, {.mode = "group:none"}), UsageError);
  EXPECT_THROW(split_rows(table, all(table), 2, {.mode = "sometimes"}), UsageError);
  EXPECT_THROW(split_rows(table, all(table), 2, {.validation = 1}), UsageError);
}

TEST(RowSplit, ReadsAllDatesOfAColumnInOneStyle) {
  // Months first, as the second row alone tells; the last by date is the first row.
  const Table table =
      read_csv_text("t,y\n12/01/2020,a\n01/31/2020,a\n02/03/2020,b\n03/02/2020,b\n", "t");
  const RowSplit split = split_rows(table, all(table), 1, {.mode = "time:t", .validation = 0.25});
  EXPECT_EQ(split.validation, std::vector<size_t>{0});
}

TEST(RowSplit, FoldsAreEvenAndStratified) {
  const Table table = make(500, false);
  const auto folds = fold_rows(table, all(table), 2, true, 5, 7);
  ASSERT_EQ(folds.size(), 5U);
  for (const auto& fold : folds) {
    EXPECT_EQ(fold.size(), 100U);
    EXPECT_EQ(yes(table, fold), 20U);
  }
  EXPECT_NE(folds, fold_rows(table, all(table), 2, true, 5, 8));
  EXPECT_THROW(fold_rows(table, {1, 2}, 2, true, 3, 1), UsageError);
}

}  // namespace
}  // namespace quern::data
