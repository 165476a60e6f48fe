#include "quern/data/document_reader.h"

#include <gmock/gmock.h>

#include "quern/data/csv_parser.h"
#include "quern/data/test_support.h"

namespace quern::data {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string poems(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    text += "《题" + std::to_string(i) + "》苏轼\n大江东去，\n浪淘尽。\n\n";
  }
  return text;
}

TEST(DocumentRuleTest, AFileIsOneDocumentThoughItsSpeechesAreApart) {
  std::string play;
  for (int i = 0; i < 20; ++i) play += "First Citizen:\nBefore we proceed, hear me.\n\n";
  EXPECT_THAT(documents_of(play, "play.txt"), ElementsAre(play));
  EXPECT_EQ(infer_document_rule("").rule, DocumentRule::kFile);
}

TEST(DocumentRuleTest, PoemsWithTitlesAreApart) {
  ReadFacts facts;
  const auto found = documents_of(poems(9), "poems.txt", {}, &facts);
  ASSERT_EQ(found.size(), 9U);
  EXPECT_EQ(found[3], "《题3》苏轼\n大江东去，\n浪淘尽。");
  EXPECT_THAT(facts.reason, HasSubstr("9 of its first 9 blocks"));
  // Too few to tell.
  EXPECT_EQ(documents_of(poems(7), "poems.txt").size(), 1U);
  // Every second block has no title.
  std::string mixed;
  for (int i = 0; i < 20; ++i) mixed += i % 2 == 0 ? "《a》b\n\n" : "text\n\n";
  EXPECT_EQ(documents_of(mixed, "mixed.txt").size(), 1U);
}

TEST(DocumentRuleTest, FortunesAreApart) {
  ReadFacts facts;
  EXPECT_THAT(documents_of("one\n\ntwo\n%\n\x1B[32m《three》\x1B[m\r\n%\r\n%\nfour\n%\nfive", "f",
                           {}, &facts),
              ElementsAre("one\n\ntwo", "《three》", "four", "five"));
  EXPECT_EQ(facts.rule, DocumentRule::kPercent);
  EXPECT_EQ(facts.colour_codes, 2U);
  // TeX.
  EXPECT_EQ(infer_document_rule("%\n% a\n%\n% b\n%\n% c\n").rule, DocumentRule::kFile);
}

TEST(DocumentRuleTest, TheKeyOverrides) {
  ReadOptions options;
  options.rule = DocumentRule::kLine;
  EXPECT_THAT(documents_of("a\n\n  \nb\r\nc", "a.txt", options), ElementsAre("a", "b", "c"));
  options.rule = parse_document_rule("file");
  EXPECT_EQ(documents_of(poems(20), "a.txt", options).size(), 1U);
  options.rule = parse_document_rule("blank-line");
  EXPECT_THAT(documents_of("a\nb\n\n \n\nc\n", "a.txt", options), ElementsAre("a\nb", "c"));
  EXPECT_THAT(error_of([] { parse_document_rule("page"); }), HasSubstr("'page'"));
  EXPECT_THAT(documents_of("\n \n\t\n", "a.txt"), IsEmpty());
}

TEST(JsonLinesTest, FieldsAndEscapes) {
  EXPECT_THAT(documents_of("{\"text\": \"a\\n\\u4f60\\ud840\\udc00\"}\r\n\n{\"id\": 1, \"text\": "
                           "\"b\"}\n{\"text\": null}\n{\"text\": \"  \"}",
                           "a.jsonl"),
              ElementsAre("a\n你𠀀", "b"));
  EXPECT_THAT(documents_of("{\"body\": \"x\", \"text\": 3}\n", "a.ndjson", {"body", {}}),
              ElementsAre("x"));
}

TEST(JsonLinesTest, ErrorsNameTheLine) {
  const auto message = [](const std::string& bytes, const ReadOptions& options = {}) {
    return error_of([&] { documents_of(bytes, "a.jsonl", options); });
  };
  EXPECT_THAT(message("{\"text\": \"a\"}\n\n{\"body\": \"b\", \"id\": 2}"),
              HasSubstr("'a.jsonl', line 3: no field 'text'; there is body, id"));
  EXPECT_THAT(message("{\"text\": \"a\"}\n{\"text\": \"b\""),
              HasSubstr("line 2: not a JSON value"));
  EXPECT_THAT(message("{\"text\": \"a\"} {\"text\": \"b\"}"),
              HasSubstr("line 1: not a JSON value"));
  EXPECT_THAT(message("[\"a\"]"), HasSubstr("line 1: not a JSON object"));
  EXPECT_THAT(message("{\"text\": 5}"), HasSubstr("the field 'text' is no string"));
  EXPECT_THAT(message("{\"text\": \"a\\u0000b\"}"), HasSubstr("NUL"));
  EXPECT_THAT(message("{}"), HasSubstr("there is none"));
  EXPECT_THAT(message(std::string(100000, '[')), HasSubstr("not a JSON value"));
}

TEST(CsvTest, QuotesSeparatorsAndLineEnds) {
  const std::string csv =
      "label,text\r\nx,\"two\nlines, and \"\"quotes\"\"\"\r\n\r\ny,plain \"inside\"\r\nz,\n";
  ReadFacts facts;
  EXPECT_THAT(documents_of(csv, "a.csv", {}, &facts),
              ElementsAre("two\nlines, and \"quotes\"", "plain \"inside\""));
  EXPECT_EQ(facts.empty, 1U);
  EXPECT_THAT(documents_of("a;Text;b\n1;x,y,z,w;2\n", "a.csv"), ElementsAre("x,y,z,w"));
  EXPECT_THAT(documents_of("a\ttext\n1\tx, y\n", "a.tsv"), ElementsAre("x, y"));
  EXPECT_THAT(documents_of("only\nx\n\"y\"", "a.csv"), ElementsAre("x", "y"));
  EXPECT_THAT(documents_of(gzip("text\nx\n"), "A.CSV.gz"), ElementsAre("x"));
}

TEST(CsvTest, ErrorsNameTheLineAndTheColumns) {
  const auto message = [](const std::string& bytes, const ReadOptions& options = {}) {
    return error_of([&] { documents_of(bytes, "a.csv", options); });
  };
  EXPECT_THAT(message("id,review\n1,x\n"),
              HasSubstr("'a.csv' has no column 'text'; its columns are id, review"));
  EXPECT_THAT(message("id,text\n1,x\n", {"body", {}}), HasSubstr("no column 'body'"));
  EXPECT_THAT(message("id,text\n1,\"a\nb\"\n3,\"x\n\n"),
              HasSubstr("line 4: a quoted field is never"));
  EXPECT_THAT(message("id,text\n1,\"a\"b\n"), HasSubstr("line 2: text stands after"));
  EXPECT_THAT(message("id,text\n1,\"a\nb\"\n1,2,3\n"),
              HasSubstr("line 4: 3 fields where the header"));
}

// Quotes and separators fall on every position of a block's border.
TEST(CsvTest, RecordsAcrossBlocks) {
  std::string csv = "text,n\n";
  for (int i = 0; i < 200000; ++i) csv += "\"a\"\"b\nc\"," + std::to_string(i) + "\r\n";
  TextStream stream(open_bytes(csv, "a.csv"), "a.csv");
  CsvParser parser(stream, ',');
  std::vector<std::string> fields;
  ASSERT_TRUE(parser.next(fields));
  for (int i = 0; i < 200000; ++i) {
    ASSERT_TRUE(parser.next(fields));
    ASSERT_EQ(fields.size(), 2U);
    ASSERT_EQ(fields[0], "a\"b\nc");
    ASSERT_EQ(fields[1], std::to_string(i));
    ASSERT_EQ(parser.record_line(), 2U + 2U * static_cast<unsigned>(i));
  }
  EXPECT_FALSE(parser.next(fields));
}

}  // namespace
}  // namespace quern::data
