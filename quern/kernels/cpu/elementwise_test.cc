#include "quern/kernels/cpu/elementwise.h"

#include <numeric>

#include "quern/kernels/cpu/kernel_testing.h"
#include "quern/kernels/reference/elementwise.h"

namespace quern::kernels::cpu::testing {
namespace {

constexpr Activation kActivations[] = {Activation::kNone, Activation::kRelu, Activation::kGelu,
                                       Activation::kGeluTanh, Activation::kSilu};
constexpr int64_t kCounts[] = {1, 3, 17, 64, 1001, 40003};

std::string name_of(Activation activation, int64_t count) {
  return "activation " + std::to_string(static_cast<int>(activation)) + ", " +
         std::to_string(count);
}

Floats activation_inputs(int64_t count) {
  Floats x = normal_floats(count, 1, 3);
  const Floats special = {0, -0.0F, 100, -100, 1000, -1000, 1e-20F, -9, 9};
  std::copy_n(special.begin(), std::min(special.size(), x.size()), x.begin());
  return x;
}

TEST(Activation, MatchesTheReference) {
  for (const Activation activation : kActivations) {
    for (const int64_t count : kCounts) {
      const Floats x = activation_inputs(count), dy = normal_floats(count, 2);
      Floats want(x.size()), want_grad = dy;
      reference::activation_forward(activation, x.data(), count, want.data());
      expect_kernel(want, 1e-6, name_of(activation, count), [&](const Context& context) {
        Floats y = x;
        activation_forward(context, activation, y.data(), count, y.data());
        return y;
      });
      for (const bool accumulate : {false, true}) {
        want_grad = dy;
        reference::activation_backward(activation, x.data(), dy.data(), count, want_grad.data(),
                                       accumulate);
        expect_kernel(want_grad, 2e-6, name_of(activation, count), [&](const Context& context) {
          Floats dx = dy;  // aliases y_grad
          activation_backward(context, activation, x.data(), dx.data(), count, dx.data(),
                              accumulate);
          return dx;
        });
      }
    }
  }
}

TEST(Activation, KeepsNan) {
  ThreadPool pool(1);
  const Context context{pool};
  for (const Activation activation : kActivations) {
    Floats x(19, 1.0F);
    x[3] = x[18] = std::nanf("");
    Floats y(19);
    activation_forward(context, activation, x.data(), 19, y.data());
    EXPECT_TRUE(std::isnan(y[3])) << static_cast<int>(activation);
    EXPECT_TRUE(std::isnan(y[18])) << static_cast<int>(activation);
    EXPECT_FALSE(std::isnan(y[4]));
  }
}

// Values of torch.nn.functional in float64.
TEST(Activation, KnownValues) {
  const double x[] = {-2, -0.5, 0, 1, 3};
  const double gelu[] = {-0.04550026389635842, -0.15426876936299347, 0, 0.8413447460685429,
                         2.99595030590511};
  const double silu[] = {-0.2384058440442351, -0.1887703343990727, 0, 0.7310585786300049,
                         2.8577223804673};
  double y[5];
  reference::activation_forward(Activation::kGelu, x, 5, y);
  expect_near(y, gelu, "gelu", 1e-14);
  reference::activation_forward(Activation::kSilu, x, 5, y);
  expect_near(y, silu, "silu", 1e-12);
  reference::activation_forward(Activation::kGeluTanh, x, 5, y);
  EXPECT_NEAR(y[3], 0.8411919906082768, 1e-12);
}

TEST(Activation, ReferenceGradientsMeetFiniteDifferences) {
  for (const Activation activation : kActivations) {
    std::vector<double> x = normal_doubles(24, 3), dy = normal_doubles(24, 4), y(24), dx(24);
    const auto loss = [&] {
      reference::activation_forward(activation, x.data(), 24, y.data());
      return std::inner_product(y.begin(), y.end(), dy.begin(), 0.0);
    };
    reference::activation_backward(activation, x.data(), dy.data(), 24, dx.data(), false);
    expect_near(dx, finite_differences(x, loss), name_of(activation, 24));

    std::vector<double> half(12), half_grad(dy.begin(), dy.begin() + 12);
    const auto gated_loss = [&] {
      reference::gated_unit_forward(activation, x.data(), 4, 3, half.data());
      return std::inner_product(half.begin(), half.end(), half_grad.begin(), 0.0);
    };
    reference::gated_unit_backward(activation, x.data(), half_grad.data(), 4, 3, dx.data(), false);
    expect_near(dx, finite_differences(x, gated_loss), name_of(activation, 12));
  }
}

TEST(GatedUnit, MatchesTheReference) {
  for (const Activation activation : kActivations) {
    for (const auto& [rows, width] : {std::pair<int64_t, int64_t>{1, 1}, {3, 17}, {257, 171}}) {
      const Floats x = normal_floats(rows * width * 2, 1, 2);
      const Floats dy = normal_floats(rows * width, 2);
      const Floats before = normal_floats(rows * width * 2, 5);
      Floats want(dy.size());
      reference::gated_unit_forward(activation, x.data(), rows, width, want.data());
      const std::string what = name_of(activation, rows * width);
      expect_kernel(want, 4e-6, what, [&, rows = rows, width = width](const Context& context) {
        Floats y(dy.size());
        gated_unit_forward(context, activation, x.data(), rows, width, y.data());
        return y;
      });
      for (const bool accumulate : {false, true}) {
        Floats want_grad = before;
        reference::gated_unit_backward(activation, x.data(), dy.data(), rows, width,
                                       want_grad.data(), accumulate);
        expect_kernel(want_grad, 4e-6, what,
                      [&, rows = rows, width = width](const Context& context) {
                        Floats dx = accumulate ? before : x;  // without accumulate, over x itself
                        gated_unit_backward(context, activation, accumulate ? x.data() : dx.data(),
                                            dy.data(), rows, width, dx.data(), accumulate);
                        return dx;
                      });
      }
    }
  }
}

TEST(Binary, MatchesTheReference) {
  for (const int64_t count : kCounts) {
    for (const int64_t period : {int64_t{1}, int64_t{3}, int64_t{13}, int64_t{63}, int64_t{64},
                                 int64_t{100}, int64_t{17000}, count}) {
      if (period > count) continue;
      const Floats a = normal_floats(count, 1), b = normal_floats(period, 2);
      Floats sum(a.size()), product(a.size());
      reference::add(a.data(), b.data(), count, period, -0.75, sum.data());
      reference::multiply(a.data(), b.data(), count, period, product.data());
      const std::string what = std::to_string(count) + " by " + std::to_string(period);
      expect_kernel(sum, 1e-6, "add " + what, [&](const Context& context) {
        Floats c = a;
        add(context, c.data(), b.data(), count, period, -0.75F, c.data());
        return c;
      });
      expect_kernel(product, 1e-6, "multiply " + what, [&](const Context& context) {
        Floats c(a.size());
        multiply(context, a.data(), b.data(), count, period, c.data());
        return c;
      });
    }
    for (const bool accumulate : {false, true}) {
      const Floats x = normal_floats(count, 1), before = normal_floats(count, 2);
      Floats want = before;
      reference::scale(x.data(), count, 0.3F, want.data(), accumulate);
      expect_kernel(want, 1e-6, "scale", [&](const Context& context) {
        Floats y = before;
        scale(context, x.data(), count, 0.3F, y.data(), accumulate);
        return y;
      });
    }
  }
}

Floats rope_table(int64_t capacity, int64_t head_dim) {
  Floats table(extent(capacity * head_dim));
  for (int64_t p = 0; p < capacity; ++p) {
    for (int64_t i = 0; i < head_dim / 2; ++i) {
      const double angle =
          static_cast<double>(p) *
          std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
      table[extent(p * head_dim + i)] = static_cast<float>(std::cos(angle));
      table[extent(p * head_dim + head_dim / 2 + i)] = static_cast<float>(std::sin(angle));
    }
  }
  return table;
}

TEST(Rope, MatchesTheReferenceAndTurnsBack) {
  for (const int64_t head_dim : {int64_t{2}, int64_t{10}, int64_t{64}}) {
    const Floats table = rope_table(64, head_dim);
    const std::vector<int32_t> offsets = {0, 5, 27};
    Rope rope_of{3, 37, 3, 2, head_dim, table.data(), nullptr, false};
    const int64_t count = 3 * 37 * 7 * head_dim;
    const Floats x = normal_floats(count, 1), before = normal_floats(count, 2);
    for (const bool with_offsets : {false, true}) {
      for (const bool inverse : {false, true}) {
        for (const bool accumulate : {false, true}) {
          rope_of.offsets = with_offsets ? offsets.data() : nullptr;
          rope_of.inverse = inverse;
          Floats want = before;
          reference::rope(rope_of, x.data(), want.data(), accumulate);
          expect_kernel(want, 1e-6, "rope", [&](const Context& context) {
            Floats y = before;
            rope(context, rope_of, x.data(), y.data(), accumulate);
            return y;
          });
        }
      }
    }
    rope_of.inverse = false;
    expect_kernel(x, 2e-6, "rope and back", [&](const Context& context) {
      Floats y = x;
      Rope back = rope_of;
      back.inverse = true;
      rope(context, rope_of, y.data(), y.data(), false);
      EXPECT_NE(y, x);
      rope(context, back, y.data(), y.data(), false);
      return y;
    });
  }
}

// One head of two dimensions at position 1 turns by one radian; the value stays.
TEST(Rope, TurnsByThePosition) {
  const Floats table = rope_table(2, 2);
  const Rope rope_of{1, 2, 1, 1, 2, table.data(), nullptr, false};
  const double x[] = {1, 0, 0, 1, 5, 6, 1, 0, 0, 1, 5, 6};
  double y[12];
  reference::rope(rope_of, x, y, false);
  const double c = std::cos(1.0), s = std::sin(1.0);
  expect_near(y, std::vector<double>{1, 0, 0, 1, 5, 6, c, s, -s, c, 5, 6}, "rope", 1e-7);
}

}  // namespace
}  // namespace quern::kernels::cpu::testing
