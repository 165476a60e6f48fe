#include "quern/data/text_stream.h"

#include <gmock/gmock.h>
#include <iconv.h>

#include "quern/data/test_support.h"

namespace quern::data {
namespace {

using testing::HasSubstr;

std::string converted(std::string text, const char* encoding) {
  const iconv_t handle = iconv_open(encoding, "UTF-8");
  std::string out(text.size() * 4 + 16, '\0');
  char* from = text.data();
  char* to = out.data();
  size_t left = text.size();
  size_t room = out.size();
  EXPECT_EQ(iconv(handle, &from, &left, &to, &room), 0U);
  iconv_close(handle);
  out.resize(out.size() - room);
  return out;
}

std::string text_of(std::string bytes) {
  TextStream stream(open_bytes(std::move(bytes), "a.txt"), "a.txt");
  EXPECT_EQ(stream.peek(), stream.peek());
  std::string out;
  for (std::string_view block; !(block = stream.next()).empty(); out += block) {
    EXPECT_EQ(find_invalid_utf8(block), std::nullopt);
  }
  return out;
}

// Several blocks long, so that every kind of character meets a block's border.
std::string mixed_text() {
  std::string text;
  for (int i = 0; i < 150000; ++i) text += i % 3 == 0 ? "的人" : i % 7 == 0 ? "a𠀀" : "是，在\n";
  return text;
}

TEST(TextStreamTest, EveryEncodingGivesTheSameText) {
  const std::string text = mixed_text();
  EXPECT_EQ(text_of(text), text);
  EXPECT_EQ(text_of("\xEF\xBB\xBF" + text), text);
  EXPECT_EQ(text_of(converted(text, "GB18030")), text);
  EXPECT_EQ(text_of("\xFF\xFE" + converted(text, "UTF-16LE")), text);
  EXPECT_EQ(text_of("\xFE\xFF" + converted(text, "UTF-16BE")), text);
}

TEST(TextStreamTest, MalformedTextFarInsideIsFound) {
  std::string text = mixed_text();
  const size_t at = text.find('\n', (size_t{1} << 20) + 5000);
  text[at] = '\xFF';
  EXPECT_THAT(error_of([&] { text_of(text); }), HasSubstr("not valid UTF-8 at byte"));
  text[at] = '\0';
  EXPECT_THAT(error_of([&] { text_of(text); }), HasSubstr("NUL"));
  EXPECT_THAT(error_of([&] { text_of(mixed_text() + "\xE4\xBD"); }), HasSubstr("UTF-8"));
}

TEST(TextStreamTest, BinaryIsRefusedByName) {
  const std::string png("\x89PNG\r\n\x1A\n\0\0\0\rIHDR\0\0", 18);
  EXPECT_THAT(error_of([&] { text_of(png); }), HasSubstr("binary_file: 'a.txt' is not text"));
  EXPECT_THAT(error_of([&] { text_of("one\ntwo\nthr\xFF\xFE" + std::string("e\n")); }),
              HasSubstr("(line 3, byte 12)"));
  EXPECT_THAT(error_of([&] { text_of(std::string(100, 'a') + std::string("\0b\n", 3)); }),
              HasSubstr("NUL character near byte 100"));
}

TEST(LineReaderTest, LinesAcrossBlocks) {
  std::string text;
  std::vector<std::string> expected;
  for (int i = 0; i < 40; ++i) {
    expected.emplace_back(static_cast<size_t>(i * 9973), 'x');
    text += expected.back() + (i % 2 == 0 ? "\n" : "\r\n");
  }
  expected.emplace_back("last");
  TextStream stream(open_bytes(text + "last", "a.txt"), "a.txt");
  LineReader lines(stream);
  std::vector<std::string> found;
  for (std::string_view line; lines.next(line);) {
    found.emplace_back(line);
    EXPECT_EQ(lines.line_number(), found.size());
  }
  EXPECT_EQ(found, expected);
}

}  // namespace
}  // namespace quern::data
