#include "quern/kernels/cpu/optimizer.h"

#include "quern/kernels/cpu/adamw_golden.h"
#include "quern/kernels/cpu/kernel_testing.h"
#include "quern/kernels/reference/optimizer.h"
#include "quern/tensor/buffer.h"

namespace quern::kernels::cpu::testing {
namespace {

constexpr int64_t kCounts[] = {1, 7, 64, 16385, 50001};

TEST(SumOfSquares, MatchesTheReference) {
  for (const int64_t count : kCounts) {
    const Floats x = normal_floats(count, 1);
    const Floats want = {static_cast<float>(reference::sum_of_squares(x.data(), count))};
    expect_kernel(want, 1e-7, std::to_string(count), [&](const Context& context) {
      Buffer scratch(sum_of_squares_scratch(count));
      return Floats{static_cast<float>(sum_of_squares(context, x.data(), count, scratch.data()))};
    });
  }
  ThreadPool pool(1);
  Buffer scratch(sum_of_squares_scratch(4));
  const Floats large = {3e25F, 4e25F, 0, 0};  // whose squares float32 cannot hold
  EXPECT_NEAR(sum_of_squares(Context{pool}, large.data(), 4, scratch.data()) / 25e50, 1, 1e-6);
  EXPECT_EQ(sum_of_squares(Context{pool}, large.data(), 0, scratch.data()), 0);
}

TEST(AdamW, MatchesTheReference) {
  for (const int64_t count : kCounts) {
    AdamWStep step;
    step.learning_rate = 3e-2F;
    step.correction1 = 1 - 0.81F;
    step.correction2 = 1 - 0.998F;
    step.gradient_scale = 0.7F;
    const Floats gradient = normal_floats(count, 1), p = normal_floats(count, 2);
    const Floats m = normal_floats(count, 3);
    Floats v = normal_floats(count, 4);
    for (float& value : v) value *= value;
    Floats want_p = p, want_m = m, want_v = v;
    reference::adamw(step, 0.1F, count, gradient.data(), want_p.data(), want_m.data(),
                     want_v.data());
    expect_kernel(join(join(want_p, want_m), want_v), 1e-6, std::to_string(count),
                  [&](const Context& context) {
                    Floats got_p = p, got_m = m, got_v = v;
                    adamw(context, step, 0.1F, count, gradient.data(), got_p.data(), got_m.data(),
                          got_v.data());
                    return join(join(got_p, got_m), got_v);
                  });
  }
}

TEST(AdamW, TakesTheStepsOfTorch) {
  const auto floats = [](const float* from) { return Floats(from, from + golden::kCount); };
  for (int steps = 1; steps <= golden::kSteps; ++steps) {
    expect_kernel(floats(golden::kAfter[steps - 1]), 1e-6, "step " + std::to_string(steps),
                  [&](const Context& context) {
                    Floats p = floats(golden::kStart), m(p.size()), v(p.size());
                    for (int i = 0; i < steps; ++i) {
                      AdamWStep step;
                      step.learning_rate = golden::kLearningRate;
                      step.correction1 = static_cast<float>(1 - std::pow(0.9, i + 1));
                      step.correction2 = static_cast<float>(1 - std::pow(0.999, i + 1));
                      adamw(context, step, golden::kWeightDecay, golden::kCount,
                            golden::kGradients[i], p.data(), m.data(), v.data());
                    }
                    if (steps == golden::kSteps) {
                      expect_close(m, floats(golden::kFirstMoment), 1e-6, "m");
                      expect_close(v, floats(golden::kSecondMoment), 2e-5, "v");
                    }
                    return p;
                  });
  }
}

TEST(Ema, MatchesTheReference) {
  for (const int64_t count : kCounts) {
    const Floats p = normal_floats(count, 1), shadow = normal_floats(count, 2);
    Floats want = shadow;
    reference::ema(0.99F, count, p.data(), want.data());
    expect_kernel(want, 1e-6, std::to_string(count), [&](const Context& context) {
      Floats got = shadow;
      ema(context, 0.99F, count, p.data(), got.data());
      return got;
    });
  }
}

}  // namespace
}  // namespace quern::kernels::cpu::testing
