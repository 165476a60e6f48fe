#include "quern/data/parquet_reader.h"

#include <gmock/gmock.h>

#include "quern/data/table_reader.h"
#include "quern/data/test_support.h"

namespace quern::data {
namespace {

using testing::HasSubstr;

using Parquet = FolderTest;

Table read(const fs::path& path) { return read_table(std::vector{path}, {}, silent_reporter()); }

// tests/golden/parquet.py wrote the file, with pyarrow.
TEST_F(Parquet, ReadsEveryKindOfColumnOrSaysWhatIsMissing) {
  const fs::path golden = "tests/golden/table.parquet";
  if (!reads_parquet()) {
    EXPECT_THAT(error_of([&] { read(golden); }), HasSubstr("libparquet-dev"));
    return;
  }
  const Table table = read(golden);
  const std::vector<std::vector<std::string>> want = {
      {"9007199254740993", "0.1", "true", "小麦, \"x\"", "b", "2024-02-29",
       "2024-02-29 12:30:00.25", "", ""},
      {"", "2", "false", "", "a", "1969-12-31", "2024-02-29", "12.00", ""},
      {"-3", "", "", "", "b", "", "1969-12-31 23:59:59.999", "7.00", ""}};
  ASSERT_EQ(table.rows(), want.size());
  ASSERT_EQ(table.columns().size(), want[0].size());
  for (size_t row = 0; row < want.size(); ++row)
    for (size_t column = 0; column < want[row].size(); ++column)
      EXPECT_EQ(table.cell(row, column), want[row][column]) << row << ' ' << column;
  EXPECT_THAT(table.where(2), HasSubstr("row 3"));
}

// Whatever is damaged, nothing but a quern::Error comes out.
TEST_F(Parquet, SurvivesDamage) {
  if (!reads_parquet()) GTEST_SKIP() << "built without Apache Arrow";
  const std::string whole = read_file("tests/golden/table.parquet");
  size_t refused = 0;
  const auto try_reading = [&](const std::string& bytes) {
    try {
      read(write("damaged.parquet", bytes));
    } catch (const Error& error) {
      EXPECT_EQ(std::string_view(error.what()).find('\n'), std::string_view::npos);
      ++refused;
    }
  };
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0xFF);
    try_reading(damaged);
  }
  for (size_t length = 0; length < whole.size(); length += 7) try_reading(whole.substr(0, length));
  EXPECT_GT(refused, whole.size() / 7);
}

TEST_F(Parquet, SaysWhatIsNoParquet) {
  EXPECT_THAT(error_of([&] { read(folder_ / "none.parquet"); }), HasSubstr("file_missing"));
  const fs::path text = write("t.parquet", "a,b\n1,2\n");
  EXPECT_THAT(error_of([&] { read(text); }),
              HasSubstr(reads_parquet() ? "Arrow says" : "no_parquet"));
}

}  // namespace
}  // namespace quern::data
