#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quern/base/error.h"
#include "quern/data/number.h"
#include "quern/data/table_reader.h"
#include "quern/data/test_support.h"

namespace quern::data {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

using TableFiles = FolderTest;

std::string message_of(const std::string& csv) {
  try {
    read_csv_text(csv, "t.csv");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Table, ReadsCells) {
  const Table table = read_csv_text("a,b\n1, x \n\"2,\n3\",\n", "t.csv");
  ASSERT_EQ(table.rows(), 2U);
  EXPECT_THAT(table.columns(), ElementsAre("a", "b"));
  EXPECT_EQ(table.cell(0, 1), "x");
  EXPECT_EQ(table.cell(1, 0), "2,\n3");
  EXPECT_EQ(table.cell(1, 1), "");
  EXPECT_EQ(table.where(1), "'t.csv', line 3");
  EXPECT_EQ(table.find("b"), 1);
  EXPECT_EQ(table.find("c"), -1);
}

TEST(Table, FindsSeparatorsAndHeaders) {
  EXPECT_THAT(read_csv_text("a;b\n1,5;2\n", "t").columns(), ElementsAre("a", "b"));
  const Table bare = read_csv_text("1,x\n2,y\n", "t");
  EXPECT_THAT(bare.columns(), ElementsAre("column1", "column2"));
  EXPECT_EQ(bare.rows(), 2U);
  // A first line of data, though most of it are words.
  EXPECT_EQ(read_csv_text("39,State-gov,77516,Male\n50,Private,83311,Male\n", "t").rows(), 2U);
}

TEST(Table, HeadersMayLackANameOrHoldYears) {
  const Table pandas = read_csv_text(",age,churn\n0,39,no\n1,50,yes\n", "t");
  EXPECT_THAT(pandas.columns(), ElementsAre("column1", "age", "churn"));
  EXPECT_EQ(pandas.rows(), 2U);
  EXPECT_THAT(read_csv_text("country,2019,2020,grew\nFrance,1.5,2.5,yes\n", "t").columns(),
              ElementsAre("country", "2019", "2020", "grew"));
  EXPECT_EQ(read_csv_text("Paris,2019,2020,yes\nRome,2018,2021,no\n", "t").rows(), 2U);
  EXPECT_THAT(read_csv_text("a,,b,\n1,2,x,3\n", "t").columns(),
              ElementsAre("a", "column2", "b", "column4"));
  EXPECT_EQ(read_csv_text("a,,b\nc,d,e\n", "t").rows(), 2U);  // nothing tells
  EXPECT_THAT(read_csv_text("sep=;\na;b\n1;2\n", "t").columns(), ElementsAre("a", "b"));
}

TEST(Table, ReadsDecimalCommasBetweenSemicolons) {
  const Table table = read_csv_text("a;b;c\n0,301;1.584,25;x\n1,584;2.000;3,5 m\n", "t");
  EXPECT_EQ(table.cell(0, 0), "0.301");
  EXPECT_EQ(table.cell(0, 1), "1584.25");
  EXPECT_EQ(table.cell(1, 0), "1.584");
  EXPECT_EQ(table.cell(1, 1), "2000");
  EXPECT_EQ(table.cell(1, 2), "3,5 m");
  // Decimal points stand in the file: commas separate thousands.
  EXPECT_EQ(read_csv_text("a;b\n1,584;2.5\n", "t").cell(0, 0), "1,584");
  EXPECT_EQ(read_csv_text("a,b\n\"0,301\",2\n", "t").cell(0, 0), "0,301");
}

TEST(Table, NamesTheLineOfAWrongRow) {
  EXPECT_THAT(message_of("a,b\n1,2\n3\n"), HasSubstr("line 3: 1 fields where the header has 2"));
  EXPECT_THAT(message_of("a,b,a\n1,2,3\n"), HasSubstr("two columns are named 'a'"));
}

TEST_F(TableFiles, ReadsJsonLinesAndArff) {
  const fs::path json = write("t.jsonl", "{\"a\": 1}\n{\"b\": [2, 3], \"a\": null}\n");
  const Table table = read_table(std::vector{json}, {}, silent_reporter());
  EXPECT_THAT(table.columns(), ElementsAre("a", "b"));
  EXPECT_EQ(table.cell(0, 1), "");
  EXPECT_EQ(table.cell(1, 0), "");
  EXPECT_EQ(table.cell(1, 1), "[2,3]");
  const fs::path arff =
      write("t.arff",
            "% a comment\n@relation r\n@attribute 'my age' numeric\n@attribute c {'a, b',x}\n"
            "@data\n3,'a, b'\n?,x\n");
  const Table weka = read_table(std::vector{arff}, {}, silent_reporter());
  EXPECT_THAT(weka.columns(), ElementsAre("my age", "c"));
  EXPECT_EQ(weka.cell(0, 1), "a, b");
  EXPECT_EQ(weka.cell(1, 0), "?");
}

TEST_F(TableFiles, JoinsFilesOfTheSameColumns) {
  const std::vector files = {write("1.csv", "a,b\n1,2\n"), write("2.csv", "b,a\n3,4\n")};
  const Table table = read_table(files, {}, silent_reporter());
  EXPECT_EQ(table.cell(1, 0), "4");
  EXPECT_THAT(table.where(1), HasSubstr("2.csv', line 2"));
  const std::vector other = {files[0], write("3.csv", "a,c\n1,2\n")};
  EXPECT_THROW(read_table(other, {}, silent_reporter()), Error);
}

TEST_F(TableFiles, LargerThanItsBudgetIsTheSame) {
  std::string text = "a,b\n";
  for (int i = 0; i < 20000; ++i) text += std::to_string(i) + ",x" + std::to_string(i * 7) + "\n";
  const std::vector file = {write("t.csv", text)};
  const Table small = read_table(file, {.memory_budget = 1000}, silent_reporter());
  const Table large = read_table(file, {}, silent_reporter());
  EXPECT_EQ(small.fingerprint(), large.fingerprint());
  for (size_t row = 0; row < small.rows(); row += 997)
    EXPECT_EQ(small.cell(row, 1), large.cell(row, 1));
}

TEST(Number, ParsesWhatIsOneAndNothingElse) {
  EXPECT_EQ(parse_number("-1.5e3"), -1500);
  EXPECT_EQ(parse_number("+.5"), 0.5);
  for (const char* text : {"", "1e999", "inf", "nan", "0x10", "1 2", "1,000", "-", "１"})
    EXPECT_FALSE(parse_number(text)) << text;
  EXPECT_EQ(parse_written_number("1,234,567.5"), 1234567.5);
  EXPECT_EQ(parse_written_number("$1,200"), 1200);
  EXPECT_EQ(parse_written_number("-12 %"), -12);
  EXPECT_EQ(parse_written_number("+2.05%"), 2.05);
  for (const char* text : {"1,23", "12,34,567", "1,2345", "a", "%", "0,301", "-0,301", "+-1"})
    EXPECT_FALSE(parse_written_number(text)) << text;
}

TEST(Number, DecimalCommasBecomePoints) {
  EXPECT_EQ(with_decimal_point("0,301"), "0.301");
  EXPECT_EQ(with_decimal_point("-1.234.567,5"), "-1234567.5");
  EXPECT_EQ(with_decimal_point("1.234"), "1234");
  EXPECT_EQ(with_decimal_point("12,5 %"), "12.5 %");
  for (const char* text : {"12", "a,b", "1,2,3", "1,", ",5", "1.2,5", "1.23", "1.5", "1234.567", "",
                           "12.2020", "Paris, 3", "1,5 m"})
    EXPECT_EQ(with_decimal_point(text), text);
}

TEST(Number, ParsesDates) {
  // date -u -d '2024-02-29 12:30:00' +%s
  EXPECT_EQ(parse_date("2024-02-29 12:30", {}), 1709209800);
  EXPECT_EQ(parse_date("2024年2月29日", {}), 1709164800);
  EXPECT_EQ(parse_date("2024-02-29T20:30:00.5+08:00", {}), 1709209800);
  EXPECT_EQ(parse_date("03/02/2021", {.day_first = true}), 1612310400);
  EXPECT_EQ(parse_date("03/02/2021", {.day_first = false}), 1614643200);
  EXPECT_EQ(parse_date("20240229", {.compact = true}), 1709164800);
  EXPECT_EQ(parse_date("2024-02-29 12:30:00 UTC", {}), 1709209800);
  EXPECT_EQ(parse_date("2/29/2024 12:30 PM", {.day_first = false}), 1709209800);
  EXPECT_EQ(parse_date("2024-02-29 12:30am", {}), 1709209800 - 12 * 3600);
  EXPECT_EQ(parse_date("2024-02-29 1:30 p", {}), std::nullopt);
  EXPECT_EQ(parse_date("2024-02-29 13:30 PM", {}), std::nullopt);
  for (const char* text : {"2023-02-29", "2024-13-01", "2024-01-01 25:00", "1.2.3", "20240229",
                           "12", "99999999999999999999999-01-01"})
    EXPECT_FALSE(parse_date(text, {})) << text;
  const DateParts parts = date_parts(1709209800);
  EXPECT_EQ(parts.year, 2024);
  EXPECT_EQ(parts.month, 2);
  EXPECT_EQ(parts.day, 29);
  EXPECT_EQ(parts.weekday, 3);  // a Thursday
  EXPECT_EQ(parts.hour, 12);
  EXPECT_EQ(date_parts(-1).year, 1969);
}

}  // namespace
}  // namespace quern::data
