#include "quern/formats/png.h"

#include <fmt/format.h>
#include <png.h>

#include <stdexcept>

#include "quern/base/strings.h"

namespace quern::formats {
namespace {

/// Whether the extents are a PNG's and the pixels as many as they say.
bool is_whole(const PixelView& p) {
  constexpr int64_t kMostSide = PNG_UINT_31_MAX;
  if (p.height < 1 || p.width < 1 || p.height > kMostSide || p.width > kMostSide) return false;
  if (p.channels != 1 && p.channels != 3) return false;
  const uint64_t row = static_cast<uint64_t>(p.width) * static_cast<uint64_t>(p.channels);
  return p.pixels.size() % row == 0 && p.pixels.size() / row == static_cast<uint64_t>(p.height);
}

}  // namespace

std::string encode_png(const PixelView& p) {
  if (!is_whole(p)) {
    throw std::invalid_argument(fmt::format("{} × {} pixels of {} channels, but {} bytes", p.width,
                                            p.height, p.channels, p.pixels.size()));
  }
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(p.width);
  image.height = static_cast<png_uint_32>(p.height);
  image.format = p.channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
  std::string out(PNG_IMAGE_PNG_SIZE_MAX(image), '\0');
  png_alloc_size_t size = out.size();
  if (png_image_write_to_memory(&image, out.data(), &size, 0, p.pixels.data(), 0, nullptr) == 0)
    throw std::runtime_error(fmt::format("libpng: {}", image.message));
  out.resize(size);
  return out;
}

std::string png_data_uri(const PixelView& picture) {
  return "data:image/png;base64," + base64(encode_png(picture));
}

}  // namespace quern::formats
