#pragma once

#include <cstdint>
#include <span>

#include "quern/base/random.h"
#include "quern/features/pictures.h"

namespace quern::task {

/// What RandAugment draws from (Cubuk et al. 2020, section 3).
enum class PictureChange : uint8_t {
  kIdentity,
  kAutoContrast,  // each channel stretched over all values
  kEqualize,      // each channel's histogram flattened
  kRotate,        // by `amount` radians about the centre
  kSolarize,      // values of 255 · (1 - |amount|) and above inverted
  kColour,        // 1 + amount times as colourful
  kPosterize,     // 8 - round(4 · |amount|) bits a value
  kContrast,      // 1 + amount times the distance from the mean
  kBrightness,    // 1 + amount times as bright
  kSharpness,     // 1 + amount times the distance from a smoothed picture
  kShearX,        // a row moves by `amount` times its height above the centre
  kShearY,
  kTranslateX,  // by `amount` of the width
  kTranslateY,
  kCount,
};

/// Changes one picture (height, width, channels) in place. What moves in from outside has the mean
/// colour of the training pictures.
void change_picture(const features::PictureFeature& feature, PictureChange change, double amount,
                    std::span<uint8_t> pixels);

/// Two changes drawn at random, each as strong as `strength` of 10 allows, to either side.
void rand_augment(const features::PictureFeature& feature, double strength, Random& random,
                  std::span<uint8_t> pixels);

}  // namespace quern::task
