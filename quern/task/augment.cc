#include "quern/task/augment.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "quern/task/rand_augment.h"

namespace quern::task {

PictureNoise picture_noise(std::string_view level, const features::PictureFeature& feature) {
  PictureNoise noise;
  if (level == "off" || !feature.present()) return noise;
  noise.shift = std::max<int64_t>(1, std::min(feature.height, feature.width) / 12);
  noise.flip = feature.channels == 3;
  if (level == "strong") {
    noise.flip = true;
    noise.erase = 0.25;
  }
  return noise;
}

void write_picture(const features::PictureFeature& f, std::span<const uint8_t> pixels,
                   const PictureNoise* noise, Random& random, float* out) {
  thread_local std::vector<uint8_t> changed;
  if (noise != nullptr && noise->strength > 0) {
    changed.assign(pixels.begin(), pixels.end());
    rand_augment(f, noise->strength, random, changed);
    pixels = changed;
  }
  int64_t down = 0, right = 0;
  bool flip = false;
  if (noise != nullptr) {
    const auto way = [&] {
      return static_cast<int64_t>(random.below(static_cast<uint64_t>(2 * noise->shift + 1))) -
             noise->shift;
    };
    down = way();
    right = way();
    flip = noise->flip && random.uniform() < 0.5;
  }
  float table[3][256];
  for (size_t c = 0; c < static_cast<size_t>(f.channels); ++c) {
    for (size_t value = 0; value < 256; ++value) {
      table[c][value] =
          static_cast<float>((static_cast<double>(value) / 255 - f.mean[c]) / f.deviation[c]);
    }
  }
  for (int64_t y = 0; y < f.height; ++y) {
    // What moves in from outside repeats the edge.
    const int64_t from_y = std::clamp<int64_t>(y + down, 0, f.height - 1);
    for (int64_t x = 0; x < f.width; ++x) {
      int64_t from_x = std::clamp<int64_t>(x + right, 0, f.width - 1);
      if (flip) from_x = f.width - 1 - from_x;
      const uint8_t* pixel = pixels.data() + (from_y * f.width + from_x) * f.channels;
      for (int64_t c = 0; c < f.channels; ++c) *out++ = table[c][pixel[c]];
    }
  }
  if (noise == nullptr || noise->erase <= 0 || random.uniform() >= noise->erase) return;
  const Rectangle gone = draw_rectangle(f, 0.02 + 0.3 * random.uniform(), random);
  float* picture = out - f.pixels();
  for (int64_t y = gone.top; y < gone.top + gone.height; ++y) {
    float* row = picture + (y * f.width + gone.left) * f.channels;
    std::fill(row, row + gone.width * f.channels, 0.0F);
  }
}

Rectangle draw_rectangle(const features::PictureFeature& f, double share, Random& random) {
  const double side = std::sqrt(std::clamp(share, 0.0, 1.0));
  Rectangle r;
  r.height = std::clamp<int64_t>(std::llround(side * static_cast<double>(f.height)), 1, f.height);
  r.width = std::clamp<int64_t>(std::llround(side * static_cast<double>(f.width)), 1, f.width);
  r.top = static_cast<int64_t>(random.below(static_cast<uint64_t>(f.height - r.height + 1)));
  r.left = static_cast<int64_t>(random.below(static_cast<uint64_t>(f.width - r.width + 1)));
  return r;
}

void paste(const features::PictureFeature& f, const Rectangle& where, const float* from,
           float* to) {
  for (int64_t y = where.top; y < where.top + where.height; ++y) {
    const int64_t at = (y * f.width + where.left) * f.channels;
    std::copy(from + at, from + at + where.width * f.channels, to + at);
  }
}

double draw_mix_share(Random& random) {
  constexpr double kAlpha = 0.8;
  for (;;) {
    const double a = std::pow(random.uniform(), 1 / kAlpha);
    const double b = std::pow(random.uniform(), 1 / kAlpha);
    if (a + b > 0 && a + b <= 1) return a / (a + b);
  }
}

void blend(std::span<const float> from, double share, float* to) {
  const auto theirs = static_cast<float>(share);
  for (size_t i = 0; i < from.size(); ++i) to[i] += theirs * (from[i] - to[i]);
}

}  // namespace quern::task
