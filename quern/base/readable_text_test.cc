#include "quern/base/readable_text.h"

#include <gtest/gtest.h>

namespace quern {
namespace {

TEST(ReadableText, ReplacesWhatIsNoText) {
  EXPECT_EQ(valid_utf8("床前 ok"), "床前 ok");
  EXPECT_EQ(valid_utf8("a\xE5\xBA"
                       "b\xFF"),
            "a\uFFFDb\uFFFD");
  EXPECT_EQ(valid_utf8(""), "");
}

TEST(ReadableText, ShowsPiecesOnOneLine) {
  EXPECT_EQ(readable(" the"), "\" the\"");
  EXPECT_EQ(readable("a\n\tb\r"), "\"a\\n\\tb\\r\"");
  EXPECT_EQ(readable("\xE5\xBA"), "<E5><BA>");
  EXPECT_EQ(readable("床"), "\"床\"");
}

}  // namespace
}  // namespace quern
