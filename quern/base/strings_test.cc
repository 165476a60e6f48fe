#include "quern/base/strings.h"

#include <gtest/gtest.h>

#include "quern/base/error.h"

namespace quern {
namespace {

TEST(Strings, EditDistance) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("abc", ""), 3u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("dorpout", "dropout"), 1u);
  EXPECT_EQ(edit_distance("ca", "abc"), 3u);
}

TEST(Strings, NearestNamesASlipOnly) {
  const std::vector<std::string> names = {"dropout", "layers", "heads", "learning_rate", "k"};
  EXPECT_EQ(nearest("dorpout", names), "dropout");
  EXPECT_EQ(nearest("Layer", names), "layers");
  EXPECT_EQ(nearest("learningrate", names), "learning_rate");
  EXPECT_EQ(nearest("temperature", names), std::nullopt);
  EXPECT_EQ(nearest("x", names), std::nullopt);
  EXPECT_EQ(nearest("", names), std::nullopt);
}

TEST(Strings, Duration) {
  EXPECT_DOUBLE_EQ(parse_duration("90s"), 90);
  EXPECT_DOUBLE_EQ(parse_duration("10m"), 600);
  EXPECT_DOUBLE_EQ(parse_duration(" 1.5h "), 5400);
  EXPECT_DOUBLE_EQ(parse_duration("2h30m"), 9000);
  EXPECT_DOUBLE_EQ(parse_duration("1d2h3m4.5s"), 86400 + 7200 + 180 + 4.5);
  EXPECT_DOUBLE_EQ(parse_duration("0s"), 0);
  for (const char* bad : {"", " ", "10", "m", "-1s", "+1s", "1e3s", "10 m", "10min", "30m2h",
                          "1h1h", "1.2.3s", ".s", "infs", "nans", "10m\n5", "１０m"}) {
    EXPECT_THROW(parse_duration(bad), UsageError) << bad;
  }
}

TEST(Strings, Bytes) {
  EXPECT_EQ(parse_bytes("1024"), 1024u);
  EXPECT_EQ(parse_bytes("16GB"), 16000000000u);
  EXPECT_EQ(parse_bytes("512MiB"), 512u << 20);
  EXPECT_EQ(parse_bytes("16 gb"), 16000000000u);
  EXPECT_EQ(parse_bytes("1.5K"), 1500u);
  EXPECT_EQ(parse_bytes("7B"), 7u);
  EXPECT_EQ(parse_bytes("18446744073709551615"), ~uint64_t{0});
  for (const char* bad : {"", "GB", "-1", "1.5", "1.5B", "16XB", "16GiBB", "16ib", "16GBs", "1e9",
                          "0x10", "18446744073709551616", "99999999999TB", "1 2"}) {
    EXPECT_THROW(parse_bytes(bad), UsageError) << bad;
  }
}

TEST(Strings, SplitAndTrim) {
  EXPECT_EQ(split("a,b,,c", ','), (std::vector<std::string>{"a", "b", "", "c"}));
  EXPECT_EQ(split("", ','), std::vector<std::string>{""});
  EXPECT_EQ(split("a,", ','), (std::vector<std::string>{"a", ""}));
  EXPECT_EQ(trim(" \t\r\nx y\n "), "x y");
  EXPECT_EQ(trim(" \n"), "");
}

TEST(Strings, ShellWord) {
  EXPECT_EQ(shell_word("runs/shop-1.2"), "runs/shop-1.2");
  EXPECT_EQ(shell_word("Ann Lee"), "'Ann Lee'");
  EXPECT_EQ(shell_word("O'Hara; rm *"), "'O'\\''Hara; rm *'");
  EXPECT_EQ(shell_word("用户"), "'用户'");
  EXPECT_EQ(shell_word(""), "''");
}

TEST(Strings, Base64) {
  // RFC 4648, section 10.
  const std::vector<std::string> answers{"",         "Zg==",     "Zm8=",    "Zm9v",
                                         "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
  for (size_t i = 0; i < answers.size(); ++i)
    EXPECT_EQ(base64(std::string_view("foobar").substr(0, i)), answers[i]);
  EXPECT_EQ(base64("\xFF\xEF\xBE"), "/+++");
}

}  // namespace
}  // namespace quern
