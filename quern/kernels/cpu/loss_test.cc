#include "quern/kernels/cpu/loss.h"

#include <limits>

#include "quern/kernels/cpu/kernel_testing.h"
#include "quern/kernels/reference/loss.h"
#include "quern/tensor/buffer.h"

namespace quern::kernels::cpu::testing {
namespace {

struct Data {
  Floats logits;
  std::vector<int32_t> targets;
  CrossEntropy cross_entropy;
  Data(int64_t rows, int64_t classes, float smoothing)
      : logits(normal_floats(rows * classes, 1, 4)), targets(extent(rows)) {
    Random random(2, Stream::kTest);
    for (int32_t& target : targets)
      target = static_cast<int32_t>(random.below(static_cast<uint64_t>(classes)));
    if (rows > 2) targets[1] = -1, targets[extent(rows - 1)] = -100;
    cross_entropy = {rows, classes, logits.data(), targets.data(), smoothing};
  }
};

const std::pair<int64_t, int64_t> kShapes[] = {{1, 1},     {1, 2},     {3, 17},    {700, 65},
                                               {5, 16384}, {3, 50257}, {17, 40001}};

TEST(CrossEntropy, ForwardMatchesTheReference) {
  for (const auto& [rows, classes] : kShapes) {
    for (const float smoothing : {0.0F, 0.1F}) {
      const Data data(rows, classes, smoothing);
      Floats nll(extent(rows)), lse(extent(rows)), loss(1);
      const float weight = 1 / static_cast<float>(rows);
      reference::cross_entropy_forward(data.cross_entropy, weight, nll.data(), lse.data(),
                                       loss.data());
      const std::string what = std::to_string(rows) + "x" + std::to_string(classes);
      expect_kernel(join(join(nll, lse), loss), 1e-6, what, [&](const Context& context) {
        Floats got_nll(nll.size()), got_lse(lse.size()), got_loss(1), alone(1);
        Buffer scratch(cross_entropy_forward_scratch(data.cross_entropy.rows));
        cross_entropy_forward(context, data.cross_entropy, weight, got_nll.data(), got_lse.data(),
                              got_loss.data(), scratch.data());
        cross_entropy_forward(context, data.cross_entropy, weight, nullptr, nullptr, alone.data(),
                              scratch.data());
        EXPECT_EQ(got_loss, alone);
        return join(join(got_nll, got_lse), got_loss);
      });
    }
  }
}

TEST(CrossEntropy, BackwardMatchesTheReference) {
  for (const auto& [rows, classes] : kShapes) {
    for (const float smoothing : {0.0F, 0.1F}) {
      for (const bool accumulate : {false, true}) {
        const Data data(rows, classes, smoothing);
        Floats nll(extent(rows)), lse(extent(rows)), loss(1);
        reference::cross_entropy_forward(data.cross_entropy, 1, nll.data(), lse.data(),
                                         loss.data());
        const Floats before =
            normal_floats(data.cross_entropy.rows * data.cross_entropy.classes, 3);
        Floats want = before;
        reference::cross_entropy_backward(data.cross_entropy, 0.3F, want.data(), accumulate);
        const std::string what = std::to_string(rows) + "x" + std::to_string(classes);
        expect_kernel(want, 1e-6, what, [&](const Context& context) {
          // Without accumulation the gradient goes over the logits.
          Floats got = accumulate ? before : data.logits;
          CrossEntropy over = data.cross_entropy;
          if (!accumulate) over.logits = got.data();
          cross_entropy_backward(context, over, lse.data(), 0.3F, got.data(), accumulate);
          return got;
        });
      }
    }
  }
}

TEST(CrossEntropy, BothAtOnceAreTheSameBits) {
  ThreadPool pool(2);
  const Context context{pool};
  for (const auto& [rows, classes] : kShapes) {
    for (const float smoothing : {0.0F, 0.1F}) {
      const Data data(rows, classes, smoothing);
      Floats nll(extent(rows)), lse(extent(rows)), loss(1), grad(data.logits.size());
      Buffer scratch(cross_entropy_both_scratch(rows));
      cross_entropy_forward(context, data.cross_entropy, 0.5F, nll.data(), lse.data(), loss.data(),
                            scratch.data());
      cross_entropy_backward(context, data.cross_entropy, lse.data(), 0.3F, grad.data(), false);
      for (const bool keeps : {false, true}) {
        Floats got_nll(nll.size()), got_lse(lse.size()), got_loss(1), got = data.logits;
        CrossEntropy over = data.cross_entropy;
        over.logits = got.data();
        cross_entropy_both(context, over, 0.5F, 0.3F, got_nll.data(),
                           keeps ? got_lse.data() : nullptr, got_loss.data(), got.data(),
                           scratch.data());
        EXPECT_EQ(got_nll, nll);
        EXPECT_EQ(got_loss, loss);
        if (keeps) {
          EXPECT_EQ(got_lse, lse);
        }
        EXPECT_EQ(got, grad) << rows << "x" << classes;
      }
    }
  }
}

TEST(CrossEntropy, ReferenceGradientsMeetFiniteDifferences) {
  const std::vector<int32_t> targets = {2, -1, 0};
  for (const float smoothing : {0.0F, 0.2F}) {
    const CrossEntropy c{3, 4, nullptr, targets.data(), smoothing};
    std::vector<double> logits = normal_doubles(12, 1), grad(12);
    double loss = 0;
    reference::cross_entropy_backward<double>(c, logits.data(), 0.7, grad.data(), false);
    const auto at = [&] {
      reference::cross_entropy_forward<double>(c, logits.data(), 0.7, nullptr, nullptr, &loss);
      return loss;
    };
    expect_near(grad, finite_differences(logits, at), "logits");
  }
}

// Equal logits: log C whatever the target and the smoothing.
TEST(CrossEntropy, KnownValues) {
  const std::vector<int32_t> target = {3};
  const std::vector<double> logits(8, 2.5);
  double nll = 0, lse = 0, loss = 0;
  reference::cross_entropy_forward<double>({1, 8, nullptr, target.data(), 0.3F}, logits.data(), 2,
                                           &nll, &lse, &loss);
  EXPECT_NEAR(nll, std::log(8.0), 1e-14);
  EXPECT_NEAR(lse, 2.5 + std::log(8.0), 1e-14);
  EXPECT_NEAR(loss, 2 * std::log(8.0), 1e-13);
}

TEST(CrossEntropy, BearsLargeMaskedAndMissingNumbers) {
  ThreadPool pool(1);
  const Context context{pool};
  const float infinity = std::numeric_limits<float>::infinity();
  for (const int64_t classes : {int64_t{20}, int64_t{40000}}) {
    Floats logits(extent(classes), -infinity), grad(logits.size());
    logits[3] = 1e4F;
    logits[7] = 1e4F;
    const std::vector<int32_t> target = {7};
    const CrossEntropy c{1, classes, logits.data(), target.data(), 0};
    float nll = 0, lse = 0, loss = 0;
    Buffer scratch(cross_entropy_forward_scratch(1));
    cross_entropy_forward(context, c, 1, &nll, &lse, &loss, scratch.data());
    EXPECT_NEAR(nll, std::log(2.0F), 1e-3);
    cross_entropy_backward(context, c, &lse, 1, grad.data(), false);
    EXPECT_NEAR(grad[3], 0.5F, 1e-3);
    EXPECT_NEAR(grad[7], -0.5F, 1e-3);
    EXPECT_EQ(grad[0], 0);
    logits[5] = std::nanf("");
    cross_entropy_forward(context, c, 1, &nll, &lse, &loss, scratch.data());
    EXPECT_TRUE(std::isnan(loss));
    softmax(context, logits.data(), 1, classes, grad.data());
    EXPECT_TRUE(std::isnan(grad[3]));
  }
}

TEST(Softmax, MatchesTheReference) {
  for (const auto& [rows, classes] : kShapes) {
    const Floats x = normal_floats(rows * classes, 1, 4);
    Floats want(x.size());
    reference::softmax(x.data(), rows, classes, want.data());
    expect_kernel(want, 1e-6, "softmax",
                  [&, rows = rows, classes = classes](const Context& context) {
                    Floats y = x;
                    softmax(context, y.data(), rows, classes, y.data());
                    return y;
                  });
  }
}

}  // namespace
}  // namespace quern::kernels::cpu::testing
