#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "quern/base/thread_pool.h"
#include "quern/kernels/cpu/kernel_testing.h"
#include "quern/kernels/cuda/emulated/emulated_driver.h"
#include "quern/kernels/cuda/gpu.h"
#include "quern/kernels/cuda/kernels.h"
#include "quern/tensor/buffer.h"

// Loss and gradient over rows that no packet divides, with logits that are masked, against the
// processor's.
namespace quern::kernels::cuda {
namespace {

using cpu::testing::extent;
using cpu::testing::Floats;

void expect_close(const Floats& got, const Floats& want, float tolerance) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], tolerance) << i;
}

TEST(CudaCrossEntropy, LossAndGradientOfWideAndMaskedRows) {
  ThreadPool pool(1);
  const cpu::Context processor{pool};
  Gpu gpu(std::make_unique<EmulatedDriver>());
  const float infinity = std::numeric_limits<float>::infinity();
  for (const int64_t classes : {3, 1031, 4096}) {
    for (const float smoothing : {0.0F, 0.1F}) {
      const std::vector<int32_t> targets = {2, -1, static_cast<int32_t>(classes) - 1, 1};
      const auto rows = static_cast<int64_t>(targets.size());
      Floats logits = cpu::testing::normal_floats(rows * classes, 1, 4);
      // All but the targets of the first row, so that whole stretches hold nothing.
      for (int64_t i = 0; i < classes && smoothing == 0; ++i) {
        if (i != targets[0]) logits[extent(i)] = -infinity;
      }
      const cpu::CrossEntropy c{rows, classes, logits.data(), targets.data(), smoothing};
      const float weight = 0.25F;
      Floats want_nll(extent(rows)), want_lse(extent(rows)), want_loss(1), want(logits.size());
      Buffer scratch(cpu::cross_entropy_both_scratch(rows));
      cpu::cross_entropy_both(processor, c, weight, 2 * weight, want_nll.data(), want_lse.data(),
                              want_loss.data(), want.data(), scratch.data());
      Floats nll(extent(rows)), lse(extent(rows)), loss(1), got = logits;
      cpu::CrossEntropy over = c;
      over.logits = got.data();
      const float two = 2;
      Buffer own(cross_entropy_both_scratch(rows));
      cross_entropy_both(gpu.context(), over, Scalar{&weight}, Scalar{&weight, &two}, nll.data(),
                         lse.data(), loss.data(), got.data(), own.data());
      gpu.driver().synchronize();
      expect_close(nll, want_nll, 1e-5F);
      expect_close(lse, want_lse, 1e-5F);
      expect_close(loss, want_loss, 1e-5F);
      expect_close(got, want, 1e-6F);
    }
  }
}

}  // namespace
}  // namespace quern::kernels::cuda
