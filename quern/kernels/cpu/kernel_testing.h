#pragma once

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "quern/base/random.h"
#include "quern/kernels/cpu/context.h"

// What the tests of the CPU kernels share.
namespace quern::kernels::cpu::testing {

using Floats = std::vector<float>;

inline size_t extent(int64_t n) { return static_cast<size_t>(n); }

inline Floats normal_floats(int64_t count, uint64_t seed, double deviation = 1) {
  Random random(seed, Stream::kTest);
  Floats values(extent(count));
  for (float& value : values) value = static_cast<float>(deviation * random.normal());
  return values;
}

/// |got - want| ≤ tolerance · (1 + |want|) everywhere.
inline void expect_close(std::span<const float> got, std::span<const float> want, double tolerance,
                         const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (size_t i = 0; i < got.size(); ++i) {
    const double w = static_cast<double>(want[i]);
    const double error = std::abs(static_cast<double>(got[i]) - w);
    if (!(error <= tolerance * (1 + std::abs(w)))) {
      FAIL() << what << " at " << i << ": " << got[i] << " instead of " << w;
    }
  }
}

/// Runs `kernel(context)`, which returns all that it wrote, under every instruction set of this
/// processor at 1, 2 and 3 threads; each must meet `want`, and the threads must agree in every bit.
template <class Kernel>
void expect_kernel(const Floats& want, double tolerance, const std::string& what,
                   const Kernel& kernel) {
  hwy::SetSupportedTargetsForTest(0);
  const int64_t all = hwy::SupportedTargets() & HWY_TARGETS;
  ThreadPool one(1), two(2), three(3);
  for (int64_t targets = all; targets != 0; targets &= targets - 1) {
    const int64_t target = targets & -targets;
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(target);
    const std::string name = what + " with " + hwy::TargetName(target);
    Context first{one}, second{two}, third{three};
    const Floats got = kernel(first);
    expect_close(got, want, tolerance, name);
    for (const Context* context : {&second, &third}) {
      const Floats again = kernel(*context);
      ASSERT_EQ(again.size(), got.size());
      EXPECT_EQ(std::memcmp(again.data(), got.data(), got.size() * sizeof(float)), 0)
          << name << " at " << context->pool.threads() << " threads";
    }
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().DeInit();
}

inline Floats join(const Floats& a, const Floats& b) {
  Floats both = a;
  both.insert(both.end(), b.begin(), b.end());
  return both;
}

/// Central differences in float64 of loss(x), where loss reads x through a reference.
template <class Loss>
std::vector<double> finite_differences(std::vector<double>& x, const Loss& loss) {
  constexpr double kStep = 1e-5;
  std::vector<double> gradient;
  for (double& value : x) {
    const double kept = value;
    value = kept + kStep;
    const double up = loss();
    value = kept - kStep;
    const double down = loss();
    value = kept;
    gradient.push_back((up - down) / (2 * kStep));
  }
  return gradient;
}

inline void expect_near(std::span<const double> got, std::span<const double> want,
                        const std::string& what, double tolerance = 1e-8) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_NEAR(got[i], want[i], tolerance * (1 + std::abs(want[i]))) << what << " at " << i;
}

inline std::vector<double> normal_doubles(int64_t count, uint64_t seed) {
  Random random(seed, Stream::kTest);
  std::vector<double> values(extent(count));
  for (double& value : values) value = random.normal();
  return values;
}

}  // namespace quern::kernels::cpu::testing
