#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "quern/explain/explain_testing.h"
#include "quern/explain/faithfulness.h"
#include "quern/explain/lime.h"
#include "quern/explain/path_gradients.h"
#include "quern/explain/superpixels.h"

namespace quern::explain {
namespace {

TEST(Lime, Weights) {
  // Half the words hidden: cosine distance 1 - √½, a hundredfold.
  EXPECT_NEAR(lime_weight(100 * (1 - std::sqrt(0.5)), 25), 0.50344, 5e-6);
  EXPECT_NEAR(lime_weight(1, 0.75 * std::sqrt(4)), 0.80074, 5e-6);
  EXPECT_NEAR(lime_weight(1, 0.75 * std::sqrt(10)), 0.91495, 5e-6);
}

FunctionGame linear_game() {
  return bit_game(6, [](size_t s) {
    const auto has = [s](int i) { return static_cast<double>((s >> i) & 1); };
    return 1 + 3 * has(0) - 2 * has(1) + 0.5 * has(2);
  });
}

TEST(Lime, FindsALinearModel) {
  auto game = linear_game();
  for (const auto& fit : {lime_text(game, {.ridge = 0}), lime_picture(game, {.ridge = 0})}) {
    EXPECT_THAT(fit.coefficients,
                ::testing::Pointwise(::testing::DoubleNear(1e-8), {3., -2., .5, 0., 0., 0.}));
    EXPECT_NEAR(fit.intercept, 1, 1e-8);
    EXPECT_NEAR(fit.local_value, 2.5, 1e-8);
    EXPECT_NEAR(fit.r_squared, 1, 1e-9);
  }
  EXPECT_EQ(lime_text(game, {}).samples, 5000U);
  EXPECT_EQ(lime_picture(game, {}).samples, 1000U);
}

TEST(Lime, StopsOnceTheOrderIsStable) {
  auto game = linear_game();
  const LimeFit fit = lime_text(game, {.leading = 2});
  EXPECT_TRUE(fit.stable);
  EXPECT_LT(fit.samples, 5000U);
  auto tied = bit_game(6, [](size_t s) { return std::sin(static_cast<double>(s * s)); });
  const LimeFit unclear = lime_text(tied, {.leading = 6});
  EXPECT_EQ(unclear.samples, 5000U);
  EXPECT_FALSE(unclear.stable);
}

TEST(Lime, SameSeedSameFit) {
  auto game = bit_game(8, [](size_t s) { return std::sin(static_cast<double>(s)); });
  EXPECT_EQ(lime_text(game, {.seed = 4}).coefficients, lime_text(game, {.seed = 4}).coefficients);
  EXPECT_NE(lime_text(game, {.seed = 4}).coefficients, lime_text(game, {.seed = 5}).coefficients);
}

TEST(Lime, ColumnsFallIntoQuartiles) {
  std::vector<double> values;
  for (int i = 0; i <= 100; ++i) values.push_back(i);
  const LimeColumn column = lime_column(values, false);
  EXPECT_EQ(column.edges, (std::vector<double>{25, 50, 75}));
  EXPECT_EQ(lime_bin(column, 25), 0U);
  EXPECT_EQ(lime_bin(column, 25.5), 1U);
  EXPECT_EQ(lime_bin(column, 1e9), 3U);
  EXPECT_NEAR(column.means[0], 12.5, 1e-12);
  const LimeColumn category = lime_column(std::vector<double>{0, 2, 2, 1}, true);
  EXPECT_EQ(category.frequencies, (std::vector<double>{.25, .25, .5}));
}

TEST(Lime, RowsOfATable) {
  std::vector<double> number, code;
  for (int i = 0; i < 400; ++i) {
    number.push_back(i % 101);
    code.push_back(i % 3);
  }
  const std::vector<LimeColumn> columns = {lime_column(number, false), lime_column(code, true)};
  // Above the median pays 4, category 2 pays 1.
  const RowModel model = [](std::span<const double> rows, std::span<double> answers) {
    for (size_t i = 0; i < answers.size(); ++i) {
      answers[i] = (rows[2 * i] > 50 ? 4 : 0) + (rows[2 * i + 1] == 2 ? 1 : 0);
    }
  };
  const std::vector<double> row = {90, 2};
  const LimeFit fit = lime_row(model, row, columns, {});
  // A quarter of the bins are the row's, another quarter answers alike: 4 (1 - 1/3).
  EXPECT_NEAR(fit.coefficients[0], 8. / 3, 0.15);
  EXPECT_NEAR(fit.coefficients[1], 1, 0.1);
  EXPECT_GT(fit.standard_errors[0], 0);
}

TEST(Faithfulness, TheTrueOrderBeatsChanceAndItsReverseLoses) {
  auto game = bit_game(8, [](size_t s) {
    double sum = 0;
    for (int i = 0; i < 8; ++i) sum += ((s >> i) & 1) != 0 ? 8 - i : 0;
    return sum;
  });
  const std::vector<size_t> order = {0, 1, 2, 3, 4, 5, 6, 7};
  const Faithfulness good = faithfulness(game, order, 1);
  EXPECT_EQ(good.deletion, (std::vector<double>{36, 28, 21, 15, 10, 6, 3, 1, 0}));
  EXPECT_EQ(good.insertion.front(), 0);
  EXPECT_EQ(good.insertion.back(), 36);
  EXPECT_NEAR(good.deletion_area, (36. / 2 + 28 + 21 + 15 + 10 + 6 + 3 + 1) / 8, 1e-12);
  EXPECT_GT(good.advantage.low, 0);
  EXPECT_GT(good.insertion_area, good.random_insertion.high);
  EXPECT_LT(good.deletion_area, good.random_deletion.low);
  const std::vector<size_t> worst(order.rbegin(), order.rend());
  EXPECT_LT(faithfulness(game, worst, 1).advantage.high, 0);
}

TEST(PathGradients, QuadratureIsExactForPolynomials) {
  const Quadrature q = gauss_legendre(5);
  for (int degree = 0; degree <= 9; ++degree) {
    double sum = 0;
    for (size_t i = 0; i < 5; ++i) sum += q.weights[i] * std::pow(q.points[i], degree);
    EXPECT_NEAR(sum, 1.0 / (degree + 1), 1e-14);
  }
}

TEST(PathGradients, OfNestedRectifiers) {
  // ReLU(ReLU(x1) - 1 - ReLU(x2)) at (3, 1) from zero.
  const GradientModel model = [](std::span<const double> x, std::span<double> gradient) {
    const double inner = std::max(x[0], 0.0) - 1 - std::max(x[1], 0.0);
    gradient[0] = inner > 0 && x[0] > 0 ? 1 : 0;
    gradient[1] = inner > 0 && x[1] > 0 ? -1 : 0;
    return std::max(inner, 0.0);
  };
  const std::vector<double> x = {3, 1}, zero = {0, 0};
  const Attribution a = integrated_gradients(model, x, zero);
  EXPECT_NEAR(a.phi[0], 1.5, 1e-12);
  EXPECT_NEAR(a.phi[1], -0.5, 1e-12);
  EXPECT_LT(a.completeness_error(), 1e-12);
}

TEST(Superpixels, FollowColourAndHangTogether) {
  // Left half red, right half blue, 40 x 60.
  std::vector<uint8_t> pixels;
  for (size_t i = 0; i < 40 * 60; ++i) {
    const bool left = i % 60 < 30;
    pixels.insert(pixels.end(), {uint8_t(left ? 200 : 10), 20, uint8_t(left ? 10 : 200)});
  }
  const Superpixels s = slic({40, 60, pixels}, 24);
  EXPECT_GE(s.count, 16U);
  EXPECT_LE(s.count, 32U);
  std::set<uint32_t> left, right;
  for (size_t i = 0; i < s.labels.size(); ++i) {
    ASSERT_LT(s.labels[i], s.count);
    (i % 60 < 30 ? left : right).insert(s.labels[i]);
  }
  for (const uint32_t label : left) EXPECT_FALSE(right.contains(label));
  EXPECT_EQ(left.size() + right.size(), s.count);
}

TEST(Superpixels, OfNothingAndOfOnePixel) {
  EXPECT_EQ(slic({}, 5).count, 0U);
  const std::vector<uint8_t> one = {1, 2, 3};
  EXPECT_EQ(slic({1, 1, one}, 5).count, 1U);
}

}  // namespace
}  // namespace quern::explain
