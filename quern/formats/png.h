#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace quern::formats {

/// Pixels of one byte a channel, row by row: (height, width, channels), grey for one channel, red,
/// green and blue for three. They stay the caller's.
struct PixelView {
  int64_t height = 0, width = 0, channels = 0;
  std::span<const uint8_t> pixels;
};

/// A whole PNG file (8 bits a channel, no alpha; the same pixels give the same bytes), as
/// TensorBoard's pictures and any viewer take it. Throws std::invalid_argument where the extents
/// are below 1, the channels neither 1 nor 3, or the pixels not as many as the extents say.
std::string encode_png(const PixelView& picture);

/// "data:image/png;base64,…" of it: for the `src` of an <img> in a page that fetches nothing
/// (RFC 2397). Pass it to report::HtmlPage::pictures.
std::string png_data_uri(const PixelView& picture);

}  // namespace quern::formats
