#include "quern/base/text_encoding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quern/base/error.h"

namespace quern {
namespace {

using namespace std::string_literals;

// 床前明月光，疑是地上霜。 in GB 2312 (bytes from Python's codec).
constexpr char kPoemUtf8[] = "床前明月光，疑是地上霜。\n";
constexpr char kPoemGb[] =
    "\xb4\xb2\xc7\xb0\xc3\xf7\xd4\xc2\xb9\xe2\xa3\xac\xd2\xc9\xca\xc7\xb5\xd8\xc9\xcf\xcb\xaa\xa1"
    "\xa3\n";

std::string utf16(std::u16string_view text, bool big_endian) {
  std::string out;
  for (const char16_t unit : text) {
    const char high = static_cast<char>(unit >> 8);
    const char low = static_cast<char>(unit & 0xFF);
    out += big_endian ? high : low;
    out += big_endian ? low : high;
  }
  return out;
}

TEST(Utf8, RoundTripsEveryScalarValue) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    append_utf8(text, c);
    const CodePoint point = decode_utf8(text);
    ASSERT_EQ(point.value, c);
    ASSERT_EQ(point.length, text.size());
  }
}

TEST(Utf8, MaximalSubpartsOfTheStandard) {
  // Unicode 15, table 3-8: 41 C0 AF 41 F4 80 80 41 and the like.
  const auto lengths = [](std::string_view text) {
    std::vector<int> out;
    while (!text.empty()) {
      const CodePoint point = decode_utf8(text);
      out.push_back(static_cast<int>(point.length) * (point.value == CodePoint::kInvalid ? -1 : 1));
      text.remove_prefix(point.length);
    }
    return out;
  };
  using testing::ElementsAre;
  EXPECT_THAT(lengths("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"),
              ElementsAre(-1, -1, -1, -1, -1, -1, -1, -1, 1));
  EXPECT_THAT(lengths("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"),
              ElementsAre(-1, -1, -1, -1, -1, -1, -1, -1, 1));
  EXPECT_THAT(lengths("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"),
              ElementsAre(-1, -1, -1, -1, -1, 1, -1, -1, 1));
  EXPECT_THAT(lengths("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), ElementsAre(-2, -1, -3, -2, 1));
}

TEST(Utf8, FindsTheFirstBadByte) {
  EXPECT_EQ(find_invalid_utf8(""), std::nullopt);
  EXPECT_EQ(find_invalid_utf8("plain ascii text, 床前 and more"), std::nullopt);
  EXPECT_EQ(find_invalid_utf8("0123456789\xFF rest"), 10u);
  EXPECT_EQ(find_invalid_utf8("0123456\xE5\xBA"), 7u);
  EXPECT_EQ(count_code_points(kPoemUtf8), 13u);
}

TEST(Utf8, PrefixEndsOnACharacter) {
  const std::string text = "a床𝄞";
  EXPECT_EQ(complete_utf8_prefix(""), 0u);
  const size_t expected[] = {0, 1, 1, 1, 4, 4, 4, 4, 8};
  for (size_t n = 0; n <= text.size(); ++n) {
    EXPECT_EQ(complete_utf8_prefix(std::string_view(text).substr(0, n)), expected[n]) << n;
  }
  // What no byte can complete is not held back.
  for (const char* bad :
       {"a\xFF", "a\x80", "a\xC0", "a\xE0\x80", "a\xED\xA0", "a\xF5\x80", "\x80\x80\x80\x80"}) {
    EXPECT_EQ(complete_utf8_prefix(bad), std::string_view(bad).size());
  }
}

TEST(DetectEncoding, ByMark) {
  EXPECT_EQ(detect_encoding("\xEF\xBB\xBFhello"), TextEncoding::kUtf8);
  EXPECT_EQ(detect_encoding("\xFF\xFEh\0"s), TextEncoding::kUtf16Le);
  EXPECT_EQ(detect_encoding("\xFE\xFF\0h"s), TextEncoding::kUtf16Be);
  EXPECT_EQ(detect_encoding("\x84\x31\x95\x33hello"), TextEncoding::kGb18030);
  EXPECT_EQ(detect_encoding("\xFF\xFE\0\0h\0\0\0"s), TextEncoding::kBinary);
}

TEST(DetectEncoding, ByContent) {
  EXPECT_EQ(detect_encoding(""), TextEncoding::kUtf8);
  EXPECT_EQ(detect_encoding("hello\n"), TextEncoding::kUtf8);
  EXPECT_EQ(detect_encoding(kPoemUtf8), TextEncoding::kUtf8);
  EXPECT_EQ(detect_encoding(kPoemGb), TextEncoding::kGb18030);
  EXPECT_EQ(detect_encoding(utf16(u"To be, or not to be\n", false)), TextEncoding::kUtf16Le);
  EXPECT_EQ(detect_encoding(utf16(u"To be, or not to be\n", true)), TextEncoding::kUtf16Be);
  EXPECT_EQ(detect_encoding(utf16(u"床前明月光\n疑是地上霜𝄞\n", false)), TextEncoding::kUtf16Le);
  // Long texts are judged by a prefix that may cut a character.
  for (const size_t shift : {0u, 1u, 2u}) {
    std::string long_text(shift, 'x');
    std::string long_gb(shift, 'x');
    while (long_text.size() < 400000) long_text += kPoemUtf8;
    while (long_gb.size() < 400000) long_gb += kPoemGb;
    EXPECT_EQ(detect_encoding(long_text), TextEncoding::kUtf8);
    EXPECT_EQ(detect_encoding(long_gb), TextEncoding::kGb18030);
  }
}

TEST(DetectEncoding, BinaryIsNotText) {
  EXPECT_EQ(detect_encoding("\x89PNG\r\n\x1a\n\0\0\0\rIHDR"s), TextEncoding::kBinary);
  EXPECT_EQ(detect_encoding("\x7f"s + "ELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0>\0"s),
            TextEncoding::kBinary);
  EXPECT_EQ(detect_encoding("caf\xE9 cr\xE8me br\xFBl\xE9"
                            "e\n"),
            TextEncoding::kBinary);  // Latin-1
  EXPECT_EQ(detect_encoding("na\xEFve\n"), TextEncoding::kBinary);
  EXPECT_EQ(detect_encoding("\x01\x02\x03\x04"), TextEncoding::kBinary);
  // One zero byte makes no UTF-16 of a text.
  EXPECT_EQ(detect_encoding(std::string(100, 'a') + "\0b\n"s), TextEncoding::kUtf8);
  EXPECT_EQ(detect_encoding("\x1F\x8B\x08\x08\x50\x51\x52"), TextEncoding::kBinary);  // gzip
}

TEST(ToUtf8, Gb18030) {
  EXPECT_EQ(to_utf8(kPoemGb, TextEncoding::kGb18030, "x"), kPoemUtf8);
  // Four bytes: U+3400, U+20000, U+10FFFF, U+0080; two bytes beyond GB 2312: U+4E02.
  EXPECT_EQ(to_utf8("\x81\x39\xEE\x39\x95\x32\x82\x36\xE3\x32\x9A\x35\x81\x30\x81\x30\x81\x40",
                    TextEncoding::kGb18030, "x"),
            "\u3400\U00020000\U0010FFFF\u0080\u4E02");
  EXPECT_EQ(to_utf8("\x84\x31\x95\x33\xB4\xB2", TextEncoding::kGb18030, "x"), "床");
  std::string long_gb;
  std::string long_text;
  for (int i = 0; i < 5000; ++i) {
    long_gb += kPoemGb;
    long_text += kPoemUtf8;
  }
  EXPECT_EQ(to_utf8(long_gb, TextEncoding::kGb18030, "x"), long_text);
}

TEST(ToUtf8, Utf16WithSurrogates) {
  for (const bool big_endian : {false, true}) {
    const TextEncoding encoding = big_endian ? TextEncoding::kUtf16Be : TextEncoding::kUtf16Le;
    EXPECT_EQ(to_utf8(utf16(u"aé床𝄞\n", big_endian), encoding, "x"), "aé床𝄞\n");
    EXPECT_EQ(to_utf8(utf16(u"\uFEFFa", big_endian), encoding, "x"), "a");
  }
}

TEST(ToUtf8, SaysWhereItIsMalformed) {
  const auto message = [](std::string_view bytes, TextEncoding encoding) -> std::string {
    try {
      to_utf8(bytes, encoding, "poems.txt");
    } catch (const FormatError& error) {
      return error.what();
    }
    return "accepted";
  };
  using testing::AllOf;
  using testing::HasSubstr;
  EXPECT_THAT(message("abc\xFF", TextEncoding::kUtf8),
              AllOf(HasSubstr("poems.txt"), HasSubstr("byte 3")));
  EXPECT_THAT(message("\xEF\xBB\xBF"
                      "a\xFF",
                      TextEncoding::kUtf8),
              HasSubstr("byte 4"));
  EXPECT_THAT(message("\xB4\xB2\xFF\xFF", TextEncoding::kGb18030), HasSubstr("byte 2"));
  EXPECT_THAT(message("\xB4\xB2\xB4", TextEncoding::kGb18030), HasSubstr("byte 2"));
  EXPECT_THAT(message("\xB4\xB2\x81\x30\x81", TextEncoding::kGb18030), HasSubstr("byte 2"));
  EXPECT_THAT(message("a\0\x00\xD8"
                      "b\0"s,
                      TextEncoding::kUtf16Le),
              HasSubstr("byte 2"));
  EXPECT_THAT(message("a\0\x00\xDC"s, TextEncoding::kUtf16Le), HasSubstr("byte 2"));
  EXPECT_THAT(message("a\0b"s, TextEncoding::kUtf16Le), HasSubstr("byte 2"));
  EXPECT_THAT(message("\0a\xD8\x00"s, TextEncoding::kUtf16Be), HasSubstr("byte 2"));
  EXPECT_THAT(message("plain", TextEncoding::kBinary), HasSubstr("not a text file"));
}

}  // namespace
}  // namespace quern
