#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "quern/base/random.h"
#include "quern/features/pictures.h"

namespace quern::task {

/// What a training picture goes through, so that the model learns what stays the same.
struct PictureNoise {
  int64_t shift = 0;    // cut from the picture moved by up to so many pixels each way
  bool flip = false;    // left for right, half of the time
  double erase = 0;     // rate of a rectangle of the mean colour (Zhong et al. 2020)
  double strength = 0;  // of RandAugment, of 10; 0: none
  double cutmix = 0;    // rate of cutting in a rectangle of another row (Yun et al. 2019)
  double mixup = 0;     // rate of blending with another row (Zhang et al. 2018)

  bool mixes() const { return cutmix > 0 || mixup > 0; }
};
/// By regularise.augment: off, light (shifts; flips of colour pictures), strong (also flips of grey
/// ones and erasing). The rest has keys of its own.
PictureNoise picture_noise(std::string_view level, const features::PictureFeature& feature);

/// Writes one picture, standardised, into (height, width, channels); `noise` null: as it is.
void write_picture(const features::PictureFeature& feature, std::span<const uint8_t> pixels,
                   const PictureNoise* noise, Random& random, float* out);

/// A rectangle that covers a share of a picture drawn from Beta(1, 1).
struct Rectangle {
  int64_t top = 0, left = 0, height = 0, width = 0;
  double share(const features::PictureFeature& feature) const {
    return static_cast<double>(height * width) /
           static_cast<double>(feature.height * feature.width);
  }
};
Rectangle draw_rectangle(const features::PictureFeature& feature, double share, Random& random);
/// Copies a rectangle from one picture to another.
void paste(const features::PictureFeature& feature, const Rectangle& where, const float* from,
           float* to);

/// From Beta(0.8, 0.8), by Jöhnk's method: how much of another picture is blended in.
double draw_mix_share(Random& random);
/// to = (1 - share) · to + share · from.
void blend(std::span<const float> from, double share, float* to);

}  // namespace quern::task
