#include "quern/data/picture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <turbojpeg.h>
#include <webp/encode.h>

#include "quern/base/error.h"
#include "quern/data/table_reader.h"
#include "quern/data/test_support.h"
#include "quern/formats/png.h"

namespace quern::data {
namespace {

/// Left half red, right half blue.
Picture halves(int64_t height, int64_t width) {
  Picture p{height, width, 3, {}};
  for (int64_t i = 0; i < height * width; ++i) {
    const bool left = i % width < width / 2;
    p.pixels.insert(p.pixels.end(), {static_cast<uint8_t>(left ? 255 : 0), 0,
                                     static_cast<uint8_t>(left ? 0 : 255)});
  }
  return p;
}

std::string png(const Picture& p) {
  return formats::encode_png({p.height, p.width, p.channels, p.pixels});
}

std::string jpeg(const Picture& p) {
  tjhandle handle = tjInitCompress();
  unsigned char* data = nullptr;
  unsigned long size = 0;
  tjCompress2(handle, p.pixels.data(), static_cast<int>(p.width), 0, static_cast<int>(p.height),
              TJPF_RGB, &data, &size, TJSAMP_444, 95, 0);
  std::string out(reinterpret_cast<char*>(data), size);
  tjFree(data);
  tjDestroy(handle);
  return out;
}

std::string webp(const Picture& p) {
  uint8_t* data = nullptr;
  const size_t size =
      WebPEncodeLosslessRGB(p.pixels.data(), static_cast<int>(p.width), static_cast<int>(p.height),
                            static_cast<int>(3 * p.width), &data);
  std::string out(reinterpret_cast<char*>(data), size);
  WebPFree(data);
  return out;
}

TEST(Picture, EveryFormatGivesItsPixels) {
  const Picture p = halves(16, 32);
  for (const std::string& bytes : {png(p), webp(p)}) {
    const Picture back = decode_picture(bytes, "p");
    EXPECT_EQ(back.height, 16);
    EXPECT_EQ(back.width, 32);
    EXPECT_EQ(back.pixels, p.pixels);
  }
  const Picture back = decode_picture(jpeg(p), "p");  // with loss
  ASSERT_EQ(back.pixels.size(), p.pixels.size());
  EXPECT_NEAR(back.pixels[0], 255, 6);
  EXPECT_NEAR(back.pixels[back.pixels.size() - 1], 255, 6);
  const Picture grey{2, 3, 1, {0, 10, 20, 30, 40, 50}};
  EXPECT_EQ(decode_picture(png(grey), "g").pixels, grey.pixels);
  EXPECT_EQ(decode_picture(png(grey), "g").channels, 1);
}

TEST(Picture, DamageIsRefused) {
  const Picture p = halves(16, 32);
  for (const std::string& bytes : {png(p), webp(p), jpeg(p)}) {
    EXPECT_THROW(decode_picture(bytes.substr(0, bytes.size() / 2), "half.png"), FormatError);
    EXPECT_THROW(decode_picture(bytes.substr(0, 14), "head.png"), FormatError);
  }
  EXPECT_THROW(decode_picture("GIF89a", "a.gif"), FormatError);
  EXPECT_THROW(decode_picture("", "empty.png"), FormatError);
}

TEST(Picture, ALargeJpegIsDecodedAtAFractionOfItsSize) {
  const std::string bytes = jpeg(halves(64, 128));
  const Picture small = decode_picture(bytes, "p", {10, 10});  // an eighth would be 8 high
  EXPECT_EQ(small.height, 16);
  EXPECT_EQ(small.width, 32);
  EXPECT_NEAR(small.pixels[0], 255, 6);
  EXPECT_NEAR(small.pixels[small.pixels.size() - 1], 255, 6);
  EXPECT_EQ(decode_picture(bytes, "p", {33, 10}).height, 64);
  EXPECT_EQ(decode_picture(png(halves(64, 128)), "p", {10, 10}).height, 64);
}

TEST(Picture, TheLimitIsNamed) {
  std::string huge = png(halves(16, 32));
  for (const size_t at : {size_t{16}, size_t{20}})
    huge.replace(at, 4, std::string("\0\0\xEA\x60", 4));
  // The header's checksum no longer fits: libpng may refuse first, with the same kind of error.
  EXPECT_THROW(decode_picture(huge, "huge.png"), FormatError);
  std::string wide = jpeg(halves(16, 32));
  const size_t frame = wide.find("\xFF\xC0");
  ASSERT_NE(frame, std::string::npos);
  wide.replace(frame + 5, 4, "\xFF\x00\xFF\x00", 4);  // 65,280 a side
  EXPECT_THAT([&] { decode_picture(wide, "wide.jpg"); },
              testing::ThrowsMessage<FormatError>(testing::AllOf(
                  testing::HasSubstr("wide.jpg"), testing::HasSubstr("65280 × 65280 pixels"),
                  testing::HasSubstr("100000000"))));
}

TEST(Picture, FittingCutsAboutTheCentre) {
  const Picture p = halves(20, 40);
  const Picture square = fit_picture(p, 10, 10, 3);
  ASSERT_EQ(square.pixels.size(), 300U);
  EXPECT_EQ(square.pixels[0], 255);                         // red at the left
  EXPECT_EQ(square.pixels[square.pixels.size() - 1], 255);  // blue at the right
  const Picture grey = fit_picture(p, 10, 10, 1);
  EXPECT_EQ(grey.pixels[0], 76);   // .299 · 255
  EXPECT_EQ(grey.pixels[99], 29);  // .114 · 255
  const Picture flat{3, 5, 1, std::vector<uint8_t>(15, 77)};
  for (const uint8_t value : fit_picture(flat, 11, 4, 3).pixels) EXPECT_EQ(value, 77);
}

using PictureFolders = FolderTest;

TEST_F(PictureFolders, LeaveHiddenFilesOut) {
  for (const char* name : {"cat/a.jpg", "cat/._a.jpg", "cat/.DS_Store", "dog/b.png", ".cache/c.png",
                           "._d.jpg", "dog/folder.png/e.txt"})
    write(name, "x");
  fs::create_symlink("loop", folder_ / "loop");
  const std::vector folder = {folder_};
  const Table table = read_table(folder, {}, silent_reporter());
  ASSERT_EQ(table.rows(), 2U);
  EXPECT_EQ(table.cell(0, 0), (folder_ / "cat/a.jpg").string());
  EXPECT_EQ(table.cell(1, 1), "dog");
  fs::remove_all(folder_ / "cat");
  fs::remove_all(folder_ / "dog");
  EXPECT_EQ(table_layout(folder_), TableLayout::kNone);
  EXPECT_EQ(table_layout(folder_ / "._d.jpg"), TableLayout::kPictures);  // named by a person
}

TEST(Picture, IdxFiles) {
  const std::string whole(
      "\0\0\x08\x02\0\0\0\x02\0\0\0\x03"
      "abcdef",
      18);
  const Idx idx = parse_idx(whole, "i");
  EXPECT_EQ(idx.extents, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(idx.bytes, "abcdef");
  for (size_t length = 0; length < whole.size(); ++length)
    EXPECT_THROW(parse_idx(whole.substr(0, length), "i"), FormatError) << length;
  EXPECT_THROW(parse_idx(whole + "g", "i"), FormatError);
  EXPECT_TRUE(is_picture_name("train-images-idx3-ubyte.gz#17"));
  EXPECT_TRUE(is_picture_name("a/B.JPEG"));
  EXPECT_FALSE(is_picture_name("notes.txt#17"));
}

}  // namespace
}  // namespace quern::data
