#include "quern/task/augment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numbers>

#include "quern/task/rand_augment.h"

namespace quern::task {
namespace {

using features::PictureFeature;
using testing::Each;
using testing::ElementsAre;
using Bytes = std::vector<uint8_t>;

PictureFeature grey(int64_t height, int64_t width) {
  PictureFeature f;
  f.column = "p";
  f.height = height;
  f.width = width;
  f.channels = 1;
  f.mean[0] = 0.2;  // 51 of 255
  return f;
}

Bytes changed(const PictureFeature& f, PictureChange change, double amount, Bytes pixels) {
  change_picture(f, change, amount, pixels);
  return pixels;
}

TEST(RandAugment, EachChangeDoesWhatItSays) {
  const PictureFeature row = grey(1, 4);
  const Bytes some{10, 100, 200, 250};
  EXPECT_THAT(changed(row, PictureChange::kBrightness, 0.5, some), ElementsAre(15, 150, 255, 255));
  EXPECT_THAT(changed(row, PictureChange::kSolarize, 0.5, some), ElementsAre(10, 100, 55, 5));
  EXPECT_THAT(changed(row, PictureChange::kPosterize, 1, some), ElementsAre(0, 96, 192, 240));
  // Mean 140; half the distance from it.
  EXPECT_THAT(changed(row, PictureChange::kContrast, -0.5, some), ElementsAre(75, 120, 170, 195));
  EXPECT_THAT(changed(row, PictureChange::kAutoContrast, 1, {50, 60, 70, 100}),
              ElementsAre(0, 51, 102, 255));
  EXPECT_THAT(changed(row, PictureChange::kEqualize, 1, {7, 8, 8, 9}),
              ElementsAre(0, 170, 170, 255));
  // A quarter of the width is one pixel; what moves in has the mean colour.
  EXPECT_THAT(changed(row, PictureChange::kTranslateX, 0.25, some), ElementsAre(51, 10, 100, 200));
  const PictureFeature square = grey(3, 3);
  const Bytes nine{1, 2, 3, 4, 5, 6, 7, 8, 9};
  EXPECT_THAT(changed(square, PictureChange::kRotate, std::numbers::pi / 2, nine),
              ElementsAre(3, 6, 9, 2, 5, 8, 1, 4, 7));
  EXPECT_THAT(changed(square, PictureChange::kShearX, 1, nine),
              ElementsAre(51, 1, 2, 4, 5, 6, 8, 9, 51));
  // The smoothed centre is (32 + 5 · 90) / 13; twice the distance from it.
  EXPECT_EQ(changed(square, PictureChange::kSharpness, 1, {4, 4, 4, 4, 90, 4, 4, 5, 3})[4],
            143);
  PictureFeature colour = grey(1, 1);
  colour.channels = 3;
  // Luma .299 · 200 + .587 · 100 + .114 · 10 = 119.64.
  EXPECT_THAT(changed(colour, PictureChange::kColour, -1, {200, 100, 10}), Each(120));
}

TEST(RandAugment, WithoutStrengthOnlyTheHistogramMoves) {
  const PictureFeature f = grey(4, 4);
  const Bytes flat(16, 90);
  for (uint64_t i = 0; i < 200; ++i) {
    Bytes pixels = flat;
    Random random(1, Stream::kAugment, i);
    rand_augment(f, 0, random, pixels);
    EXPECT_EQ(pixels, flat);
  }
}

TEST(PictureNoise, LevelsSetWhatTheKeysLeave) {
  const PictureFeature f = grey(28, 28);
  const PictureNoise off = picture_noise("off", f);
  EXPECT_EQ(off.shift, 0);
  const PictureNoise light = picture_noise("light", f);
  EXPECT_EQ(light.shift, 2);
  EXPECT_FALSE(light.flip);  // of grey pictures: digits
  EXPECT_EQ(light.erase, 0);
  EXPECT_TRUE(picture_noise("strong", f).flip);
  EXPECT_GT(picture_noise("strong", f).erase, 0);
}

TEST(MixShare, IsSymmetricAndWithinBounds) {
  double sum = 0, squares = 0;
  constexpr int kDraws = 20'000;
  for (uint64_t i = 0; i < kDraws; ++i) {
    Random random(3, Stream::kMix, i);
    const double share = draw_mix_share(random);
    ASSERT_GE(share, 0);
    ASSERT_LE(share, 1);
    sum += share;
    squares += (share - 0.5) * (share - 0.5);
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 0.01);
  // Variance of Beta(a, a): 1 / (4 (2a + 1)).
  EXPECT_NEAR(squares / kDraws, 1 / (4 * (2 * 0.8 + 1)), 0.003);
}

}  // namespace
}  // namespace quern::task
