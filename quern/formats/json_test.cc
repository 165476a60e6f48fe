#include "quern/formats/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "quern/base/error.h"

namespace quern::formats {
namespace {

using testing::HasSubstr;

std::string failure(std::string_view text, const JsonLimits& limits = {}) {
  try {
    parse_json(text, "x.json", limits);
  } catch (const FormatError& error) {
    EXPECT_THAT(error.what(), HasSubstr("x.json"));
    return error.what();
  }
  return "accepted";
}

TEST(Json, EqualsTheLibrarysOwnParser) {
  for (const char* text :
       {"null", "true", "-1", "18446744073709551615", "1.5e3", "\"a\\u5e8a\\n\"", "[]", "{}",
        R"({"a": [1, {"b": [[], {}, null]}, "x"], "c": {"a": {"a": false}}, "d": -0.0})",
        " [ [ [ 1 ] , 2 ] , 3 ] \n"}) {
    EXPECT_EQ(parse_json(text, "x"), nlohmann::json::parse(text)) << text;
  }
}

TEST(Json, RefusesDuplicateKeys) {
  EXPECT_THAT(failure(R"({"a": 1, "b": 2, "a": 3})"), HasSubstr("\"a\" occurs twice"));
  EXPECT_THAT(failure(R"([{"x": {"k": 1, "\u006b": 3}}])"), HasSubstr("\"k\" occurs twice"));
  EXPECT_EQ(failure(R"({"a": {"a": 1}, "b": {"a": 2}})"), "accepted");
}

TEST(Json, KeepsItsLimits) {
  EXPECT_EQ(failure("[[[1]]]", {.depth = 3}), "accepted");
  EXPECT_THAT(failure("[[[[1]]]]", {.depth = 3}), HasSubstr("deeper than 3"));
  EXPECT_THAT(failure(std::string(1000000, '[')), HasSubstr("deeper than 64"));
  EXPECT_EQ(failure("12345", {.bytes = 5}), "accepted");
  EXPECT_THAT(failure("123456", {.bytes = 5}), HasSubstr("6 bytes"));
}

TEST(Json, SaysWhereItIsWrong) {
  EXPECT_THAT(failure("{\"a\": 1,\n \"b\" 2}"), HasSubstr("line 2, column 6 (byte 14)"));
  for (const char* bad :
       {"", " ", "{", "[1,]", "{\"a\":}", "{a:1}", "[1] x", "[1][2]", "NaN", "01", "1e999", "'a'",
        "\"\\x\"", "\"\xFF\"", "\"\xC0\xAF\"", "// c\n1", "\xEF\xBB\xBF", "tru", "\"a"}) {
    EXPECT_THAT(failure(bad), HasSubstr("line 1, column")) << bad;
  }
}

}  // namespace
}  // namespace quern::formats
