#include "quern/task/rand_augment.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <vector>

namespace quern::task {
namespace {

using features::PictureFeature;
using Table = std::array<uint8_t, 256>;

uint8_t as_byte(double value) {
  return static_cast<uint8_t>(std::clamp(std::lround(value), 0L, 255L));
}

/// A copy to read while the picture is written; one a thread, so that training allocates nothing.
std::span<const uint8_t> copy_of(std::span<const uint8_t> pixels) {
  thread_local std::vector<uint8_t> copy;
  copy.assign(pixels.begin(), pixels.end());
  return copy;
}

/// value -> table(value) in every channel.
template <typename Function>
void map_values(std::span<uint8_t> pixels, const Function& function) {
  Table table;
  for (size_t v = 0; v < table.size(); ++v) table[v] = as_byte(function(static_cast<double>(v)));
  for (uint8_t& pixel : pixels) pixel = table[pixel];
}

/// Each channel by the table that its histogram gives.
template <typename Make>
void map_channels(const PictureFeature& f, std::span<uint8_t> pixels, const Make& make) {
  const auto channels = static_cast<size_t>(f.channels);
  for (size_t c = 0; c < channels; ++c) {
    std::array<int64_t, 256> counts{};
    for (size_t i = c; i < pixels.size(); i += channels) ++counts[pixels[i]];
    const Table table = make(counts);
    for (size_t i = c; i < pixels.size(); i += channels) pixels[i] = table[pixels[i]];
  }
}

Table identity_table() {
  Table table;
  for (size_t v = 0; v < table.size(); ++v) table[v] = static_cast<uint8_t>(v);
  return table;
}

Table stretched(const std::array<int64_t, 256>& counts) {
  Table table = identity_table();
  size_t low = 0, high = 255;
  while (low < 255 && counts[low] == 0) ++low;
  while (high > low && counts[high] == 0) --high;
  if (high == low) return table;
  for (size_t v = 0; v < table.size(); ++v) {
    table[v] = as_byte(255 * (static_cast<double>(v) - static_cast<double>(low)) /
                       static_cast<double>(high - low));
  }
  return table;
}

Table equalized(const std::array<int64_t, 256>& counts) {
  Table table = identity_table();
  int64_t total = 0, first = 0;
  for (const int64_t count : counts) {
    if (first == 0) first = count;
    total += count;
  }
  if (total == first) return table;  // one value alone
  int64_t below = 0;
  for (size_t v = 0; v < table.size(); ++v) {
    below += counts[v];
    table[v] =
        as_byte(255 * static_cast<double>(below - first) / static_cast<double>(total - first));
  }
  return table;
}

/// The luma of each pixel (ITU-R BT.601) of a colour picture, or its grey.
double luma(const PictureFeature& f, const uint8_t* pixel) {
  return f.channels == 3 ? 0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2] : pixel[0];
}

void colour(const PictureFeature& f, double factor, std::span<uint8_t> pixels) {
  if (f.channels != 3) return;
  for (size_t i = 0; i < pixels.size(); i += 3) {
    const double grey = luma(f, &pixels[i]);
    for (size_t c = i; c < i + 3; ++c) pixels[c] = as_byte(grey + factor * (pixels[c] - grey));
  }
}

void contrast(const PictureFeature& f, double factor, std::span<uint8_t> pixels) {
  double sum = 0;
  const auto channels = static_cast<size_t>(f.channels);
  for (size_t i = 0; i < pixels.size(); i += channels) sum += luma(f, &pixels[i]);
  const double mean = sum / static_cast<double>(pixels.size() / channels);
  map_values(pixels, [&](double v) { return mean + factor * (v - mean); });
}

/// Against the mean of 3 × 3 with a centre of weight 5; the edge stays as it is.
void sharpness(const PictureFeature& f, double factor, std::span<uint8_t> pixels) {
  const std::span<const uint8_t> from = copy_of(pixels);
  for (int64_t y = 1; y + 1 < f.height; ++y) {
    for (int64_t i = f.channels; i < (f.width - 1) * f.channels; ++i) {
      const int64_t at = y * f.width * f.channels + i;
      double sum = 4.0 * from[static_cast<size_t>(at)];
      for (int64_t down = -1; down <= 1; ++down)
        for (int64_t right = -1; right <= 1; ++right)
          sum += from[static_cast<size_t>(at + (down * f.width + right) * f.channels)];
      const double smooth = sum / 13;
      pixels[static_cast<size_t>(at)] =
          as_byte(smooth + factor * (from[static_cast<size_t>(at)] - smooth));
    }
  }
}

/// Where a pixel's value comes from, about the centre: x' = xx · x + xy · y + dx; likewise y'.
struct Affine {
  double xx = 1, xy = 0, dx = 0, yx = 0, yy = 1, dy = 0;
};

/// Bilinear; outside the picture lies the mean colour.
void warp(const PictureFeature& f, const Affine& a, std::span<uint8_t> pixels) {
  const std::span<const uint8_t> from = copy_of(pixels);
  const auto value = [&](int64_t y, int64_t x, int64_t c) {
    if (y < 0 || y >= f.height || x < 0 || x >= f.width)
      return 255 * f.mean[static_cast<size_t>(c)];
    return static_cast<double>(from[static_cast<size_t>((y * f.width + x) * f.channels + c)]);
  };
  const double middle_x = static_cast<double>(f.width - 1) / 2;
  const double middle_y = static_cast<double>(f.height - 1) / 2;
  uint8_t* to = pixels.data();
  for (int64_t y = 0; y < f.height; ++y) {
    for (int64_t x = 0; x < f.width; ++x) {
      const double u = static_cast<double>(x) - middle_x;
      const double v = static_cast<double>(y) - middle_y;
      const double from_x = middle_x + a.xx * u + a.xy * v + a.dx;
      const double from_y = middle_y + a.yx * u + a.yy * v + a.dy;
      const auto left = static_cast<int64_t>(std::floor(from_x));
      const auto top = static_cast<int64_t>(std::floor(from_y));
      const double right_share = from_x - static_cast<double>(left);
      const double low_share = from_y - static_cast<double>(top);
      for (int64_t c = 0; c < f.channels; ++c) {
        const double upper = std::lerp(value(top, left, c), value(top, left + 1, c), right_share);
        const double lower =
            std::lerp(value(top + 1, left, c), value(top + 1, left + 1, c), right_share);
        *to++ = as_byte(std::lerp(upper, lower, low_share));
      }
    }
  }
}

/// What a change of full strength amounts to.
double full(PictureChange change) {
  switch (change) {
    case PictureChange::kRotate:
      return std::numbers::pi / 6;
    case PictureChange::kShearX:
    case PictureChange::kShearY:
    case PictureChange::kTranslateX:
    case PictureChange::kTranslateY:
      return 0.3;
    case PictureChange::kColour:
    case PictureChange::kContrast:
    case PictureChange::kBrightness:
    case PictureChange::kSharpness:
      return 0.9;
    default:
      return 1;
  }
}

}  // namespace

void change_picture(const PictureFeature& f, PictureChange change, double amount,
                    std::span<uint8_t> pixels) {
  switch (change) {
    case PictureChange::kAutoContrast:
      return map_channels(f, pixels, stretched);
    case PictureChange::kEqualize:
      return map_channels(f, pixels, equalized);
    case PictureChange::kRotate:
      return warp(f,
                  {.xx = std::cos(amount),
                   .xy = -std::sin(amount),
                   .yx = std::sin(amount),
                   .yy = std::cos(amount)},
                  pixels);
    case PictureChange::kSolarize: {
      const double from = 255 * (1 - std::abs(amount));
      return map_values(pixels, [&](double v) { return v >= from ? 255 - v : v; });
    }
    case PictureChange::kColour:
      return colour(f, 1 + amount, pixels);
    case PictureChange::kPosterize: {
      const double step = std::exp2(std::lround(4 * std::abs(amount)));
      return map_values(pixels, [&](double v) { return std::floor(v / step) * step; });
    }
    case PictureChange::kContrast:
      return contrast(f, 1 + amount, pixels);
    case PictureChange::kBrightness:
      return map_values(pixels, [&](double v) { return (1 + amount) * v; });
    case PictureChange::kSharpness:
      return sharpness(f, 1 + amount, pixels);
    case PictureChange::kShearX:
      return warp(f, {.xy = amount}, pixels);
    case PictureChange::kShearY:
      return warp(f, {.yx = amount}, pixels);
    case PictureChange::kTranslateX:
      return warp(f, {.dx = -amount * static_cast<double>(f.width)}, pixels);
    case PictureChange::kTranslateY:
      return warp(f, {.dy = -amount * static_cast<double>(f.height)}, pixels);
    case PictureChange::kIdentity:
    case PictureChange::kCount:
      return;
  }
}

void rand_augment(const PictureFeature& feature, double strength, Random& random,
                  std::span<uint8_t> pixels) {
  for (int i = 0; i < 2; ++i) {
    const auto change =
        static_cast<PictureChange>(random.below(static_cast<uint64_t>(PictureChange::kCount)));
    const double side = random.uniform() < 0.5 ? -1 : 1;
    change_picture(feature, change, side * full(change) * strength / 10, pixels);
  }
}

}  // namespace quern::task
