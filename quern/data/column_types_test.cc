#include "quern/data/column_types.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quern/base/error.h"
#include "quern/data/table_reader.h"

namespace quern::data {
namespace {

std::string column(const std::string& header, const std::vector<std::string>& values,
                   int repeat = 1) {
  std::string text = header + ",other\n";
  int row = 0;
  for (int i = 0; i < repeat; ++i) {
    for (const std::string& value : values)
      text += "\"" + value + "\"," + std::to_string(row++ % 7) + "\n";
  }
  return text;
}

ColumnFacts infer(const std::string& csv, const std::string& types = "") {
  return infer_types(read_csv_text(csv, "t.csv"), parse_type_overrides(types)).front();
}

TEST(ColumnTypes, AreInferred) {
  EXPECT_EQ(infer(column("age", {"39", "?", "4.5", "1,200"})).type, ColumnType::kNumber);
  EXPECT_EQ(infer(column("flag", {"0", "1", "1"})).type, ColumnType::kCategory);
  EXPECT_EQ(infer(column("zip", {"01234", "98765", "11111"})).type, ColumnType::kCategory);
  EXPECT_EQ(infer(column("city", {"Paris", "Rome", "Bonn"}, 20)).type, ColumnType::kCategory);
  EXPECT_EQ(infer(column("c", {"a", "a", ""})).type, ColumnType::kConstant);
  EXPECT_EQ(infer(column("picture", {"a.jpg", "b.JPEG", "c.png"})).type, ColumnType::kImage);
  std::vector<std::string> slip(19, "a.jpg");
  slip.insert(slip.end(), {"b.png", "folder"});
  EXPECT_EQ(infer(column("picture", slip)).type, ColumnType::kImage);
  EXPECT_EQ(infer(column("t", {"the cat sat on the mat", "a dog barked at night today"})).type,
            ColumnType::kText);
  EXPECT_EQ(infer(column("t", {"请问附近有什么好吃的餐馆", "帮我找一家便宜的酒店吧"})).type,
            ColumnType::kText);
  const ColumnFacts age = infer(column("age", {"39", "?", "4.5"}));
  EXPECT_EQ(age.missing, 1U);
  EXPECT_EQ(age.distinct, 2U);
  EXPECT_EQ(age.minimum, 4.5);
}

TEST(ColumnTypes, TextsOfAnyScriptAreTexts) {
  EXPECT_EQ(infer(column("t", {"кошка сидела на коврике", "собака лаяла всю ночь"})).type,
            ColumnType::kText);
  EXPECT_EQ(infer(column("t", {"η γάτα κάθισε στο χαλί", "ο σκύλος γάβγιζε όλη νύχτα"})).type,
            ColumnType::kText);
  EXPECT_EQ(infer(column("t", {"القط جلس على السجادة", "الكلب نبح طوال الليل"})).type,
            ColumnType::kText);
  EXPECT_EQ(infer(column("t", {"बिल्ली चटाई पर बैठी थी", "कुत्ता रात भर भौंकता रहा"})).type,
            ColumnType::kText);
  EXPECT_EQ(infer(column("t", {"แมวนั่งอยู่บนพรมสีแดง", "สุนัขเห่าตลอดทั้งคืนเมื่อวาน"})).type,
            ColumnType::kText);
  EXPECT_EQ(infer(column("c", {"Москва", "Тверь", "Псков"}, 20)).type, ColumnType::kCategory);
}

TEST(ColumnTypes, OneSlipMakesNoCodeAndANameNoIdentifier) {
  std::vector<std::string> amounts, years, paid, filled;
  for (int i = 0; i < 60; ++i) {
    amounts.push_back(i == 7 ? "05" : std::to_string(100 * i % 73 + 1));
    years.push_back(std::to_string(1960 + i));
    paid.push_back(std::to_string(100 + i * i));
    filled.push_back(i == 7 ? "007" : std::to_string(100 + i * 3));
  }
  EXPECT_EQ(infer(column("amount", amounts)).type, ColumnType::kNumber);
  EXPECT_EQ(infer(column("code", filled)).reason, "codes with leading zeros");  // of one length
  EXPECT_EQ(infer(column("YEAR", years)).type, ColumnType::kNumber);
  EXPECT_EQ(infer(column("n", years)).type, ColumnType::kId);
  EXPECT_EQ(infer(column("AMOUNT_PAID", paid)).type, ColumnType::kNumber);
  for (const char* name : {"ID", "rowID", "user_id", "CUSTOMERID", "Customer ID"})
    EXPECT_EQ(infer(column(name, paid)).type, ColumnType::kId) << name;
  EXPECT_EQ(infer(column("change", {"+2.05%", "-1.78%", "+0.4%"})).type, ColumnType::kNumber);
}

TEST(ColumnTypes, ManyWordsThatRepeatAreACategory) {
  std::string text = "word,other\n";
  for (int i = 0; i < 330000; ++i) text += "w" + std::to_string(i % 110000) + ",1\n";
  EXPECT_EQ(infer(text).type, ColumnType::kId);  // each of the first 100,000 is another
  text = "word,other\n";
  for (int i = 0; i < 330000; ++i) text += "w" + std::to_string(i / 3) + ",1\n";
  EXPECT_EQ(infer(text).type, ColumnType::kCategory);
}

TEST(ColumnTypes, NoneIsAnAnswerAmongWordsAndMissingAmongNumbers) {
  const ColumnFacts words = infer(column("telephone", {"none", "yes", "none"}));
  EXPECT_EQ(words.type, ColumnType::kCategory);
  EXPECT_EQ(words.missing, 0U);
  const ColumnFacts numbers = infer(column("income", {"none", "1.5", "2", "-", "7"}));
  EXPECT_EQ(numbers.type, ColumnType::kNumber);
  EXPECT_EQ(numbers.missing, 2U);
  EXPECT_EQ(numbers.unreadable, 0U);
}

TEST(ColumnTypes, IdentifiersAreFound) {
  std::vector<std::string> rising, codes;
  for (int i = 0; i < 50; ++i) {
    rising.push_back(std::to_string(1000 + i));
    codes.push_back(std::to_string(7590 + i * i) + "-VHVEG");
  }
  EXPECT_EQ(infer(column("n", rising)).type, ColumnType::kId);
  EXPECT_EQ(infer(column("customerID", codes)).type, ColumnType::kId);
}

TEST(ColumnTypes, DatesAreReadInTheOrderThatFits) {
  const ColumnFacts month = infer(column("d", {"01/02/2020", "03/25/2020"}));
  EXPECT_EQ(month.type, ColumnType::kDate);
  EXPECT_FALSE(month.date_style.day_first);
  EXPECT_TRUE(infer(column("d", {"01/02/2020", "25/03/2020"})).date_style.day_first);
  EXPECT_EQ(infer(column("n", {"20200102", "20200103", "7"})).type, ColumnType::kNumber);
  EXPECT_EQ(infer(column("日期", {"20200102", "20200103", "20200201"})).type, ColumnType::kDate);
  std::vector<std::string> born(30, "1955-06-12");
  born[4] = "1960-01-02";
  born[9] = "19550612";
  EXPECT_EQ(infer(column("born", born)).type, ColumnType::kDate);
  EXPECT_EQ(infer(column("born", born)).unreadable, 1U);
  EXPECT_EQ(infer(column("d", {"2020-01-02", "2020-03-04"})).reason, "its values are dates");
  EXPECT_THAT(infer(column("d", {"01/02/2020", "03/04/2020"})).reason,
              testing::HasSubstr("day first: none tells"));
}

TEST(ColumnTypes, UnreadableValuesAreSaidWithTheirLine) {
  std::vector<std::string> values(30, "1.5");
  values[3] = "1e999";
  values[4] = "2";
  values[5] = "3";
  const ColumnFacts facts = infer(column("x", values));
  EXPECT_EQ(facts.type, ColumnType::kNumber);
  EXPECT_EQ(facts.unreadable, 1U);
  EXPECT_EQ(facts.unreadable_example, "1e999");
  EXPECT_EQ(facts.unreadable_where, "'t.csv', line 5");
}

TEST(ColumnTypes, WholeNumbersOfFewValuesAreClasses) {
  const auto numbered = [](int count, const char* end) {
    std::vector<std::string> values;
    for (int i = 0; i < count; ++i) values.push_back(std::to_string(3 * i % count) + end);
    return infer(column("y", values, 2));
  };
  EXPECT_TRUE(is_class_target(numbered(10, "")));
  EXPECT_FALSE(is_class_target(numbered(11, "")));
  EXPECT_FALSE(is_class_target(numbered(4, ".5")));
  EXPECT_TRUE(is_class_target(infer(column("y", {"a", "b", "c"}, 20))));
  EXPECT_TRUE(lacks_target("none", false));
  EXPECT_FALSE(lacks_target("none", true));
  EXPECT_TRUE(lacks_target("N/A", true));
}

TEST(ColumnTypes, CanBeOverridden) {
  EXPECT_EQ(infer(column("age", {"39", "4", "5"}), "age = category").type, ColumnType::kCategory);
  EXPECT_THROW(infer(column("age", {"39", "4"}), "aeg = category"), UsageError);
  EXPECT_THROW(infer(column("age", {"39", "4"}), "age = numeric"), UsageError);
  EXPECT_THROW(infer(column("age", {"a", "b"}), "age = number"), Error);
}

}  // namespace
}  // namespace quern::data
