#include "quern/data/byte_source.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include "quern/data/test_support.h"

namespace quern::data {
namespace {

using testing::HasSubstr;

class ByteSourceTest : public FolderTest {};

std::string long_text() {
  std::string text;
  for (int i = 0; i < 60000; ++i) text += std::to_string(i * 7919 % 100003) + " ";
  return text;
}

TEST_F(ByteSourceTest, PlainAndCompressedGiveTheSameBytes) {
  const std::string text = long_text();
  for (const auto& [name, bytes] : {std::pair<std::string, std::string>{"a.txt", text},
                                    {"a.txt.gz", gzip(text)},
                                    {"a.txt.zst", zstd(text)},
                                    {"gzip_by_its_bytes", gzip(text)}}) {
    auto source = open_bytes(write(name, bytes));
    EXPECT_EQ(read_all(*source), text) << name;
    EXPECT_EQ(source->consumed(), bytes.size()) << name;
  }
}

TEST_F(ByteSourceTest, MembersAndFramesFollowOneAnother) {
  EXPECT_EQ(
      read_all(*open_bytes(gzip("one ") + gzip("") + gzip("two") + std::string(512, '\0'), "a.gz")),
      "one two");
  const std::string skippable("\x50\x2A\x4D\x18\x03\0\0\0abc", 11);
  EXPECT_EQ(read_all(*open_bytes(skippable + zstd("one ") + zstd("two"), "a.zst")), "one two");
}

TEST_F(ByteSourceTest, CompressedNothingIsNothing) {
  EXPECT_EQ(read_all(*open_bytes(gzip(""), "a.gz")), "");
  EXPECT_EQ(read_all(*open_bytes(zstd(""), "a.zst")), "");
}

TEST_F(ByteSourceTest, EveryTruncationIsRefused) {
  for (const std::string& whole : {gzip(long_text()), zstd(long_text())}) {
    for (size_t size = 5; size < whole.size(); size += 1 + size / 7) {
      auto source = open_bytes(whole.substr(0, size), "cut");
      EXPECT_THAT(error_of([&] { read_all(*source); }), HasSubstr("'cut'")) << size;
    }
  }
}

TEST_F(ByteSourceTest, DamageIsRefused) {
  std::string bytes = gzip(long_text());
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 0x55);
  EXPECT_THAT(error_of([&] { read_all(*open_bytes(bytes, "a.gz")); }), HasSubstr("bad_format"));
  EXPECT_THAT(error_of([&] { read_all(*open_bytes(gzip("x") + "garbage", "a.gz")); }),
              HasSubstr("bad_format"));
  EXPECT_THAT(error_of([&] { read_all(*open_bytes(zstd("x") + "garbage", "a.zst")); }),
              HasSubstr("bad_format"));
}

TEST_F(ByteSourceTest, BombIsRefused) {
  const std::string zeros(size_t{8} << 20, 'a');
  std::string bomb;
  const std::string frame = zstd(zeros);
  for (int i = 0; i < 64; ++i) bomb += frame;
  EXPECT_THAT(error_of([&] { read_all(*open_bytes(bomb, "bomb.zst"), size_t{1} << 20); }),
              HasSubstr("200-fold"));
}

TEST_F(ByteSourceTest, EachBadFileHasItsOwnError) {
  EXPECT_THAT(error_of([&] { open_bytes(folder_ / "none.txt"); }), HasSubstr("file_missing"));
  EXPECT_THAT(error_of([&] { open_bytes(folder_); }), HasSubstr("is_a_folder"));
  EXPECT_THAT(error_of([&] { open_bytes(write("empty.txt", "")); }), HasSubstr("empty_file"));
  EXPECT_THAT(error_of([&] { open_bytes(write("empty.gz", "")); }), HasSubstr("empty_file"));
  EXPECT_THAT(error_of([&] { open_bytes(write("plain.gz", "text")); }),
              HasSubstr("is not compressed, though its name says so"));
  ASSERT_EQ(mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(error_of([&] { open_bytes(folder_ / "pipe"); }), HasSubstr("not a plain file"));
}

}  // namespace
}  // namespace quern::data
