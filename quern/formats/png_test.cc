#include "quern/formats/png.h"

#include <gtest/gtest.h>
#include <png.h>

#include <stdexcept>
#include <vector>

namespace quern::formats {
namespace {

/// What libpng reads back, as colour.
std::vector<uint8_t> decoded(const std::string& file, uint32_t& height, uint32_t& width) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  EXPECT_NE(png_image_begin_read_from_memory(&image, file.data(), file.size()), 0);
  image.format = PNG_FORMAT_RGB;
  std::vector<uint8_t> pixels(PNG_IMAGE_SIZE(image));
  EXPECT_NE(png_image_finish_read(&image, nullptr, pixels.data(), 0, nullptr), 0);
  height = image.height;
  width = image.width;
  return pixels;
}

TEST(Png, KeepsEveryPixel) {
  std::vector<uint8_t> pixels;
  for (int i = 0; i < 5 * 7 * 3; ++i) pixels.push_back(static_cast<uint8_t>(i * 37));
  uint32_t height = 0, width = 0;
  EXPECT_EQ(decoded(encode_png({5, 7, 3, pixels}), height, width), pixels);
  EXPECT_EQ(height, 5U);
  EXPECT_EQ(width, 7U);
  const std::vector<uint8_t> grey{0, 90, 255};
  EXPECT_EQ(decoded(encode_png({1, 3, 1, grey}), height, width),
            (std::vector<uint8_t>{0, 0, 0, 90, 90, 90, 255, 255, 255}));
}

TEST(Png, AsADataUri) {
  const std::vector<uint8_t> black{0};
  const std::string uri = png_data_uri({1, 1, 1, black});
  // The signature 89 50 4E 47 0D 0A 1A 0A, and the IHDR chunk behind it, in base64.
  EXPECT_EQ(uri.substr(0, 44), "data:image/png;base64,iVBORw0KGgoAAAANSUhEUg");
  EXPECT_EQ(png_data_uri({1, 1, 1, black}), uri);
}

TEST(Png, ExtentsMustFit) {
  const std::vector<uint8_t> pixels(6);
  EXPECT_THROW(encode_png({2, 2, 1, pixels}), std::invalid_argument);
  EXPECT_THROW(encode_png({1, 3, 2, pixels}), std::invalid_argument);
  EXPECT_THROW(encode_png({0, 3, 1, {}}), std::invalid_argument);
}

}  // namespace
}  // namespace quern::formats
