#include "quern/kernels/cpu/kernel_testing.h"
#include "quern/kernels/reference/elementwise.h"

namespace quern::kernels::cpu::testing {
namespace {

constexpr uint32_t kDropoutStream = static_cast<uint32_t>(Stream::kDropout);

TEST(Dropout, MatchesTheReference) {
  const uint32_t random[4] = {11, 22, 33, 44};
  for (const auto& [samples, size] :
       {std::pair<int64_t, int64_t>{1, 1}, {5, 63}, {7, 130}, {301, 65}, {2, 20011}}) {
    for (int bits = 0; bits < 8; ++bits) {
      const bool per_sample = bits & 1, with_residual = bits & 2, accumulate = bits & 4;
      const Dropout options{0.3F, per_sample, samples, size, random, kDropoutStream, 5};
      const Floats x = normal_floats(samples * size, 1), r = normal_floats(samples * size, 2);
      Floats want = r;
      reference::dropout(options, x.data(), with_residual ? r.data() : nullptr, want.data(),
                         accumulate);
      expect_kernel(want, 1e-6, "dropout", [&](const Context& context) {
        Floats y = r;  // aliases the residual
        dropout(context, options, x.data(), with_residual ? y.data() : nullptr, y.data(),
                accumulate);
        return y;
      });
    }
  }
}

/// The mask itself: dropout of ones.
Floats mask(const Dropout& options) {
  ThreadPool pool(1);
  Floats y(extent(options.samples * options.sample_size), 1);
  dropout(Context{pool}, options, y.data(), nullptr, y.data(), false);
  return y;
}

TEST(Dropout, KeepsTheRightShare) {
  const uint32_t random[4] = {1, 2, 3, 0};
  for (const float rate : {0.0F, 0.1F, 0.5F, 0.9F}) {
    for (const bool per_sample : {false, true}) {
      const Dropout options{
          rate,           per_sample, per_sample ? 100000 : 10, per_sample ? 1 : 10000, random,
          kDropoutStream, 0};
      const Floats y = mask(options);
      double kept = 0, sum = 0;
      for (const float value : y) {
        kept += value != 0;
        sum += static_cast<double>(value);
      }
      const double n = static_cast<double>(y.size()), p = 1 - static_cast<double>(rate);
      EXPECT_NEAR(kept / n, p, 4 * std::sqrt(p * (1 - p) / n)) << rate;
      EXPECT_NEAR(sum, kept / p, 1e-5 * n);
    }
  }
}

TEST(Dropout, NeighboursLayersStepsAndStreamsAreIndependent) {
  const uint32_t random[4] = {1, 2, 3, 0}, later[4] = {1, 2, 4, 0}, reseeded[4] = {9, 2, 3, 0};
  const Dropout options{0.5F, false, 4, 10000, random, kDropoutStream, 0};
  const Floats base = mask(options);
  const auto agreement = [&](const Floats& other, size_t shift) {
    double same = 0;
    for (size_t i = 0; i + shift < base.size(); ++i) same += base[i] == other[i + shift];
    return same / static_cast<double>(base.size() - shift);
  };
  for (const size_t shift : {size_t{1}, size_t{16}, size_t{64}, size_t{10000}})
    EXPECT_NEAR(agreement(base, shift), 0.5, 0.015) << shift;
  Dropout other = options;
  other.layer = 1;
  EXPECT_NEAR(agreement(mask(other), 0), 0.5, 0.015);
  other = options;
  other.stream = static_cast<uint32_t>(Stream::kTokenDropout);
  EXPECT_NEAR(agreement(mask(other), 0), 0.5, 0.015);
  other = options;
  other.random = later;
  EXPECT_NEAR(agreement(mask(other), 0), 0.5, 0.015);
  other.random = reseeded;
  EXPECT_NEAR(agreement(mask(other), 0), 0.5, 0.015);
}

// A sample draws alike in whatever batch it comes: six at once, or two and four.
TEST(Dropout, DependsOnTheGlobalSampleOnly) {
  for (const int64_t size : {int64_t{77}, int64_t{9001}}) {
    for (const bool per_sample : {false, true}) {
      const uint32_t first[4] = {1, 2, 3, 10}, second[4] = {1, 2, 3, 12};
      const Floats together = mask({0.4F, per_sample, 6, size, first, kDropoutStream, 2});
      const Floats head = mask({0.4F, per_sample, 2, size, first, kDropoutStream, 2});
      const Floats tail = mask({0.4F, per_sample, 4, size, second, kDropoutStream, 2});
      EXPECT_EQ(join(head, tail), together);
    }
  }
}

// The backward pass is dropout of the gradient: it must be zero exactly where forward dropped.
TEST(Dropout, ForwardAndBackwardDrawAlike) {
  ThreadPool pool(2);
  const Context context{pool};
  const uint32_t random[4] = {5, 6, 7, 8};
  const Dropout options{0.25F, false, 3, 20000, random, kDropoutStream, 1};
  const Floats x(60000, 2), residual(60000, 7), grad(60000, 3);
  Floats y(60000), x_grad(60000, 1);
  dropout(context, options, x.data(), residual.data(), y.data(), false);
  dropout(context, options, grad.data(), nullptr, x_grad.data(), true);
  for (size_t i = 0; i < y.size(); ++i)
    ASSERT_EQ(y[i] == 7, x_grad[i] == 1) << i << ": " << y[i] << ", " << x_grad[i];
}

}  // namespace
}  // namespace quern::kernels::cpu::testing
