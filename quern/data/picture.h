#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "quern/base/file.h"

namespace quern::data {

/// Pixels, one byte each, row by row; one channel (grey) or three (red, green, blue).
struct Picture {
  int64_t height = 0, width = 0, channels = 0;
  std::vector<uint8_t> pixels;  // (height, width, channels)
};

/// A picture may have so many pixels, and a side be so long.
inline constexpr int64_t kMostPixels = 100'000'000;
inline constexpr int64_t kLongestSide = 32'768;

/// What a decoded picture has to cover at least; 0: all its pixels are wanted.
struct Cover {
  int64_t height = 0, width = 0;
};

/// JPEG, PNG or WebP, by its first bytes; `where` names it in errors. Transparent parts lie on
/// black. A JPEG larger than `cover` asks for is decoded at an eighth, a quarter or half of its
/// size, which saves time and memory. Throws FormatError: another format, damaged, or too large.
Picture decode_picture(std::string_view bytes, std::string_view where, const Cover& cover = {});

/// Scaled until it covers height × width, by a triangle filter, and cut to it about the centre;
/// grey as colour has three equal channels, colour as grey its luma (ITU-R BT.601).
Picture fit_picture(const Picture& picture, int64_t height, int64_t width, int64_t channels);

/// Whether a name ends as pictures' do, or names a picture of an IDX file ("FILE#7").
bool is_picture_name(std::string_view name);

/// Bytes of an IDX file (the MNIST family: "train-images-idx3-ubyte", also .gz and .zst).
struct Idx {
  std::vector<int64_t> extents;
  std::string bytes;  // of unsigned bytes, outermost extent first
};
/// Throws FormatError (another element type, cut short, bytes left over) and what open_bytes
/// throws.
Idx read_idx(const fs::path& path);
/// The same of bytes in memory.
Idx parse_idx(std::string bytes, std::string_view where);
/// "…-images-idx3-ubyte", whatever its compression.
bool is_idx_name(const fs::path& path);

}  // namespace quern::data
