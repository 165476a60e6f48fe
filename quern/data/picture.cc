#include "quern/data/picture.h"

#include <fmt/format.h>
#include <png.h>
#include <turbojpeg.h>
#include <webp/decode.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "quern/base/error.h"
#include "quern/data/byte_source.h"

namespace quern::data {
namespace {

[[noreturn]] void refuse(std::string_view where, std::string_view what) {
  throw FormatError(fmt::format("'{}': {}", where, what),
                    "give a whole JPEG, PNG or WebP picture, or leave its row out");
}

void require_size(int64_t height, int64_t width, std::string_view where) {
  if (height < 1 || width < 1) refuse(where, "a picture without pixels");
  if (height > kLongestSide || width > kLongestSide || height * width > kMostPixels) {
    refuse(where, fmt::format("{} × {} pixels; {} a side and {} in all are the most", width, height,
                              kLongestSide, kMostPixels));
  }
}

Picture blank(int64_t height, int64_t width, int64_t channels, std::string_view where) {
  require_size(height, width, where);
  Picture picture{height, width, channels, {}};
  picture.pixels.resize(static_cast<size_t>(height * width * channels));
  return picture;
}

/// The strongest of 1/8, 1/4, 1/2 that leaves the cover's pixels.
tjscalingfactor reduction(int height, int width, const Cover& cover) {
  for (const int by : {8, 4, 2}) {
    const tjscalingfactor factor{1, by};
    if (cover.height > 0 && TJSCALED(height, factor) >= cover.height &&
        TJSCALED(width, factor) >= cover.width)
      return factor;
  }
  return {1, 1};
}

Picture decode_jpeg(std::string_view bytes, std::string_view where, const Cover& cover) {
  const std::unique_ptr<void, int (*)(tjhandle)> handle(tjInitDecompress(), tjDestroy);
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  int width = 0, height = 0, sampling = 0, space = 0;
  if (tjDecompressHeader3(handle.get(), data, bytes.size(), &width, &height, &sampling, &space) !=
      0)
    refuse(where, fmt::format("a damaged JPEG picture ({})", tjGetErrorStr2(handle.get())));
  require_size(height, width, where);
  const bool grey = space == TJCS_GRAY;
  const tjscalingfactor factor = reduction(height, width, cover);
  width = TJSCALED(width, factor);
  height = TJSCALED(height, factor);
  Picture picture = blank(height, width, grey ? 1 : 3, where);
  // Warnings stand for lost data: a file cut short decodes with grey in its place.
  if (tjDecompress2(handle.get(), data, bytes.size(), picture.pixels.data(), width, 0, height,
                    grey ? TJPF_GRAY : TJPF_RGB, TJFLAG_ACCURATEDCT | TJFLAG_LIMITSCANS) != 0)
    refuse(where, fmt::format("a damaged JPEG picture ({})", tjGetErrorStr2(handle.get())));
  return picture;
}

Picture decode_png(std::string_view bytes, std::string_view where) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  const auto damaged = [&] {
    const std::string message = image.message;
    png_image_free(&image);
    refuse(where, fmt::format("a damaged PNG picture ({})", message));
  };
  if (png_image_begin_read_from_memory(&image, bytes.data(), bytes.size()) == 0) damaged();
  const bool colour = (image.format & PNG_FORMAT_FLAG_COLOR) != 0;
  Picture picture;
  try {
    picture = blank(image.height, image.width, colour ? 3 : 1, where);
  } catch (const Error&) {
    png_image_free(&image);
    throw;
  }
  image.format = colour ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
  const png_color black{0, 0, 0};
  if (png_image_finish_read(&image, &black, picture.pixels.data(), 0, nullptr) == 0) damaged();
  return picture;
}

Picture decode_webp(std::string_view bytes, std::string_view where) {
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  int width = 0, height = 0;
  if (WebPGetInfo(data, bytes.size(), &width, &height) == 0)
    refuse(where, "a damaged WebP picture");
  Picture picture = blank(height, width, 3, where);
  if (WebPDecodeRGBInto(data, bytes.size(), picture.pixels.data(), picture.pixels.size(),
                        3 * width) == nullptr)
    refuse(where, "a damaged WebP picture, or a moving one");
  return picture;
}

/// For each of `count` places of the result along one axis, the first source pixel and the weights.
struct Filter {
  struct Place {
    int64_t first = 0;
    std::vector<float> weights;
  };
  std::vector<Place> places;
};

/// `scale`: source pixels to one of the result; `begin`: where the result starts in the source.
Filter triangle(int64_t source, int64_t count, double scale, double begin) {
  Filter filter;
  const double support = std::max(scale, 1.0);
  for (int64_t i = 0; i < count; ++i) {
    const double centre = begin + (static_cast<double>(i) + 0.5) * scale - 0.5;
    const auto first = std::max<int64_t>(0, static_cast<int64_t>(std::ceil(centre - support)));
    const auto last =
        std::min<int64_t>(source - 1, static_cast<int64_t>(std::floor(centre + support)));
    Filter::Place place{std::min(first, source - 1), {}};
    double sum = 0;
    for (int64_t at = first; at <= last; ++at) {
      const double weight = std::max(0.0, 1 - std::abs(static_cast<double>(at) - centre) / support);
      place.weights.push_back(static_cast<float>(weight));
      sum += weight;
    }
    if (!(sum > 0)) place.weights.assign(1, 1.0F), sum = 1;
    for (float& weight : place.weights) weight /= static_cast<float>(sum);
    filter.places.push_back(std::move(place));
  }
  return filter;
}

/// line += weight · row y of the picture, in `channels` channels.
void add_row(const Picture& p, int64_t y, int64_t channels, float weight,
             std::vector<float>& line) {
  const uint8_t* from = p.pixels.data() + y * p.width * p.channels;
  if (p.channels == channels) {
    for (float& to : line) to += weight * *from++;
    return;
  }
  float* to = line.data();
  for (int64_t x = 0; x < p.width; ++x, from += p.channels) {
    const float value =
        p.channels == 1 ? from[0] : 0.299F * from[0] + 0.587F * from[1] + 0.114F * from[2];
    for (int64_t c = 0; c < channels; ++c) *to++ += weight * value;
  }
}

}  // namespace

Picture decode_picture(std::string_view bytes, std::string_view where, const Cover& cover) {
  if (bytes.starts_with("\xFF\xD8\xFF")) return decode_jpeg(bytes, where, cover);
  if (bytes.starts_with("\x89PNG\r\n\x1A\n")) return decode_png(bytes, where);
  if (bytes.size() >= 12 && bytes.starts_with("RIFF") && bytes.substr(8, 4) == "WEBP")
    return decode_webp(bytes, where);
  refuse(where, "neither JPEG nor PNG nor WebP");
}

Picture fit_picture(const Picture& p, int64_t height, int64_t width, int64_t channels) {
  if (p.height == height && p.width == width && p.channels == channels) return p;
  const double scale = std::min(static_cast<double>(p.height) / static_cast<double>(height),
                                static_cast<double>(p.width) / static_cast<double>(width));
  const auto begin = [&](int64_t from, int64_t to) {
    return (static_cast<double>(from) - scale * static_cast<double>(to)) / 2;
  };
  const Filter rows = triangle(p.height, height, scale, begin(p.height, height));
  const Filter columns = triangle(p.width, width, scale, begin(p.width, width));
  Picture out{height, width, channels, {}};
  out.pixels.reserve(static_cast<size_t>(height * width * channels));
  std::vector<float> line(static_cast<size_t>(p.width * channels));
  for (const Filter::Place& row : rows.places) {
    std::fill(line.begin(), line.end(), 0.0F);
    for (size_t k = 0; k < row.weights.size(); ++k)
      add_row(p, row.first + static_cast<int64_t>(k), channels, row.weights[k], line);
    for (const Filter::Place& column : columns.places) {
      for (int64_t c = 0; c < channels; ++c) {
        float sum = 0;
        for (size_t k = 0; k < column.weights.size(); ++k) {
          const int64_t at = (column.first + static_cast<int64_t>(k)) * channels + c;
          sum += column.weights[k] * line[static_cast<size_t>(at)];
        }
        out.pixels.push_back(static_cast<uint8_t>(std::clamp(std::lround(sum), 0L, 255L)));
      }
    }
  }
  return out;
}

bool is_picture_name(std::string_view name) {
  const size_t hash = name.rfind('#');
  if (hash != std::string_view::npos && hash + 1 < name.size() &&
      name.find_first_not_of("0123456789", hash + 1) == std::string_view::npos)
    return is_idx_name(name.substr(0, hash));
  std::string end(name.substr(name.size() - std::min<size_t>(5, name.size())));
  for (char& c : end) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return end.ends_with(".jpg") || end.ends_with(".jpeg") || end.ends_with(".png") ||
         end.ends_with(".webp");
}

bool is_idx_name(const fs::path& path) {
  std::string name = path.filename().string();
  for (const char* end : {".gz", ".zst"})
    if (name.ends_with(end)) name.resize(name.size() - std::string_view(end).size());
  return name.ends_with("-idx3-ubyte") || name.ends_with(".idx3-ubyte") ||
         name.ends_with("-idx4-ubyte") || name.ends_with(".idx4-ubyte");
}

Idx parse_idx(std::string bytes, std::string_view where) {
  const auto bad = [&](const std::string& what) {
    throw FormatError(fmt::format("'{}': {}", where, what),
                      "give a whole IDX file of unsigned bytes, as MNIST's");
  };
  const auto byte = [&](size_t at) { return static_cast<uint8_t>(bytes[at]); };
  if (bytes.size() < 4 || byte(0) != 0 || byte(1) != 0) bad("no IDX file");
  if (byte(2) != 0x08) bad(fmt::format("its elements are of type {:#04x}, not bytes", byte(2)));
  const size_t rank = byte(3);
  const size_t header = 4 + 4 * rank;
  if (rank < 1 || rank > 4 || bytes.size() < header) bad("its extents are cut short");
  Idx idx;
  uint64_t total = 1;
  for (size_t i = 0; i < rank; ++i) {
    uint64_t extent = 0;
    for (size_t k = 0; k < 4; ++k) extent = extent << 8 | byte(4 + 4 * i + k);
    if (extent == 0 || extent > (uint64_t{1} << 31)) bad("an extent is 0 or out of range");
    if (total > (uint64_t{1} << 40) / extent) bad("it claims more than a TiB");
    total *= extent;
    idx.extents.push_back(static_cast<int64_t>(extent));
  }
  if (bytes.size() - header != total) {
    bad(fmt::format("{} bytes follow its extents, which ask for {}", bytes.size() - header, total));
  }
  idx.bytes = bytes.substr(header);
  return idx;
}

Idx read_idx(const fs::path& path) {
  const auto source = open_bytes(path);
  std::string bytes;
  constexpr size_t kPiece = size_t{1} << 20;
  for (;;) {
    const size_t before = bytes.size();
    bytes.resize(before + kPiece);
    const size_t got = source->read(std::span(bytes).subspan(before));
    bytes.resize(before + got);
    if (got < kPiece) break;
  }
  return parse_idx(std::move(bytes), path.string());
}

}  // namespace quern::data
