#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "quern/kernels/cuda/emulated/emulated_driver.h"
#include "quern/kernels/cuda/gpu.h"
#include "quern/kernels/cuda/kernels.h"

// Float32 to bfloat16, to nearest and by chance.
namespace quern::kernels::cuda {
namespace {

using Random = std::array<uint32_t, 4>;

std::vector<BFloat16> narrowed(const std::vector<float>& from, const Random* random) {
  Gpu gpu(std::make_unique<EmulatedDriver>());
  std::vector<BFloat16> to(from.size());
  narrow(gpu.context(), from.data(), static_cast<int64_t>(from.size()),
         random != nullptr ? random->data() : nullptr, to.data());
  gpu.driver().synchronize();
  return to;
}

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(Narrow, RoundsToNearestEven) {
  // Of 1 the last place is 2^-7; a tie goes to the even neighbour.
  const std::vector<float> from = {1,       1 + 0x1p-8F, 1 + 0x1.8p-7F, 1 + 0x1.02p-8F,
                                   -0x1p-9, kInfinity,   -kInfinity,    NAN,
                                   0,       3.4e38F};
  const std::vector<float> want = {1,         1,          1 + 0x1p-6F, 1 + 0x1p-7F, -0x1p-9,
                                   kInfinity, -kInfinity, NAN,         0,           kInfinity};
  const std::vector<BFloat16> got = narrowed(from, nullptr);
  for (size_t i = 0; i < from.size(); ++i) {
    if (std::isnan(want[i])) {
      EXPECT_TRUE(std::isnan(static_cast<float>(got[i])));
    } else {
      EXPECT_EQ(static_cast<float>(got[i]), want[i]) << i;
    }
  }
}

TEST(Narrow, ByChanceTheMeanIsTheValue) {
  constexpr size_t kCount = 20000;
  for (const float share : {0.25F, 0.5F, 0.9F}) {
    const float value = -(1 + share * 0x1p-7F);
    const Random random = {3, 5, 11, 0};
    const std::vector<BFloat16> got = narrowed(std::vector<float>(kCount, value), &random);
    double up = 0;
    for (const BFloat16 one : got) {
      const auto rounded = static_cast<float>(one);
      ASSERT_TRUE(rounded == -1 || rounded == -(1 + 0x1p-7F)) << rounded;
      up += rounded == -1 ? 0 : 1;
    }
    // Five standard deviations of a share of 20,000.
    EXPECT_NEAR(up / kCount, static_cast<double>(share), 5 * 0.5 / std::sqrt(double{kCount}));
  }
}

TEST(Narrow, ChanceFollowsFromSeedAndStep) {
  const std::vector<float> from(1000, 1 + 0x1p-8F);
  const auto bits = [&](Random random) {
    std::vector<uint16_t> result;
    for (const BFloat16 one : narrowed(from, &random)) result.push_back(one.bits);
    return result;
  };
  EXPECT_EQ(bits({3, 5, 11, 0}), bits({3, 5, 11, 64})) << "not from the sample";
  EXPECT_NE(bits({3, 5, 11, 0}), bits({3, 5, 12, 0}));
  EXPECT_NE(bits({3, 5, 11, 0}), bits({4, 5, 11, 0}));
}

TEST(Narrow, ByChanceWhatIsExactOrNotFiniteStays) {
  const Random random = {1, 2, 3, 4};
  const std::vector<float> from = {0, 1, -0.375F, 256, kInfinity, -kInfinity, NAN, 0x1p-120F, 7};
  const std::vector<BFloat16> got = narrowed(from, &random);
  for (size_t i = 0; i < from.size(); ++i) {
    if (std::isnan(from[i])) {
      EXPECT_TRUE(std::isnan(static_cast<float>(got[i])));
    } else {
      EXPECT_EQ(static_cast<float>(got[i]), from[i]) << i;
    }
  }
}

}  // namespace
}  // namespace quern::kernels::cuda
