#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "quern/kernels/cuda/blas_plans.h"
#include "quern/kernels/cuda/emulated/emulated_driver.h"
#include "quern/kernels/cuda/kernels.h"

namespace quern::kernels::cuda {
namespace {

std::vector<float> waves(int64_t count, float phase) {
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = std::sin(phase + 0.37F * static_cast<float>(i % 1009));
  return values;
}

void expect_each(const cpu::Windows& all, const cpu::Windows& one, int64_t outputs,
                 bool accumulate) {
  const int64_t y_size = all.count() * outputs;
  EmulatedDriver driver;
  BlasPlans plans(driver, emulated_blas());
  const Context context{.driver = driver, .blas = &plans};
  const std::vector<float> x = waves(all.batch * all.picture(), 0);
  const std::vector<float> weight = waves(outputs * all.pixels(), 1);
  std::vector<float> y = waves(all.batch * y_size, 2), y_each = waves(all.batch * y_size, 3);
  std::vector<float> x_grad = waves(all.batch * all.picture(), 4), x_grad_each = x_grad;
  std::vector<float> weight_grad = waves(outputs * all.pixels(), 5), weight_grad_each = weight_grad;
  std::vector<std::byte> scratch(
      std::max({cuda::convolve_scratch(all, outputs), cuda::convolve_backward_scratch(all, outputs),
                cuda::convolve_weight_scratch(all, outputs)}));

  convolve(context, all, outputs, x.data(), weight.data(), y.data(), scratch.data());
  convolve_backward(context, all, outputs, weight.data(), y.data(), x_grad.data(), accumulate,
                    scratch.data());
  convolve_weight_backward(context, all, outputs, x.data(), y.data(), weight_grad.data(),
                           accumulate, scratch.data());
  for (int64_t b = 0; b < all.batch; ++b) {
    const float* picture = x.data() + b * all.picture();
    float* y_one = y_each.data() + b * y_size;
    convolve(context, one, outputs, picture, weight.data(), y_one, scratch.data());
    convolve_backward(context, one, outputs, weight.data(), y_one,
                      x_grad_each.data() + b * all.picture(), accumulate, scratch.data());
    convolve_weight_backward(context, one, outputs, picture, y_one, weight_grad_each.data(),
                             accumulate || b > 0, scratch.data());
  }
  EXPECT_EQ(y, y_each);
  EXPECT_EQ(x_grad, x_grad_each);
  float largest = 0;
  for (const float sum : weight_grad) largest = std::max(largest, std::abs(sum));
  for (size_t i = 0; i < weight_grad.size(); ++i)
    EXPECT_NEAR(weight_grad[i], weight_grad_each[i], 1e-3F * largest) << i;
}

/// More windows than are laid out at a time: what a batch gives is what its pictures give.
TEST(Convolution, OfManyPicturesIsThatOfEach) {
  const cpu::Windows all{.batch = 5,
                         .height = 256,
                         .width = 256,
                         .channels = 1,
                         .kernel = 5,
                         .stride = 1,
                         .padding = 2};
  cpu::Windows one = all;
  one.batch = 1;
  constexpr int64_t kOutputs = 2;
  ASSERT_LT(cuda::convolve_scratch(all, kOutputs),
            static_cast<size_t>(all.batch * all.count() * all.pixels()) * sizeof(float))
      << "this batch is to be laid out in parts";

  for (const bool accumulate : {false, true}) {
    SCOPED_TRACE(accumulate);
    expect_each(all, one, kOutputs, accumulate);
  }
}

}  // namespace
}  // namespace quern::kernels::cuda
